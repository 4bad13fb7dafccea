"""Times, rates and roofs of training steps: what `cllm profile` and `cllm bench` show. No run depends on it."""
