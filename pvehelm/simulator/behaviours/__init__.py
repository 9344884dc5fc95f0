"""What the schema does not say: one module a noun, each registering its handlers when imported."""
