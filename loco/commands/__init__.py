"""The commands, one module a subject: parse, call one function, print."""
