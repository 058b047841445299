"""From a conversation to text: the child process that runs llama.cpp, and the client that talks to it."""
