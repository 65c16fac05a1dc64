"""What the llm_app endpoints do, whichever envelope they answer in."""
