"""Pages that show one idea each, with their source beside it."""
