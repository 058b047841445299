"""The kinds of dialogue that the guide is trained on."""
