"""One fixed tokenizer for everybody's lengths, whatever tokenizer a model has."""
