"""What clients send: JSON read strictly, with a sentence for each field that does not fit."""
