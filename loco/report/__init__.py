"""What the commands print: tables for people, one module a subject."""
