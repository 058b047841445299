"""The offline trainer: from what people said of replies to a checked adapter. Only it imports torch."""
