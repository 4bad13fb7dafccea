"""cllm trains small language models on CPUs."""
