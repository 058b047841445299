"""The offline trainer: from what people said of replies to a checked adapter. The only room that imports torch."""
