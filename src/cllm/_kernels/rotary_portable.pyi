KERNELS: dict[str, object]
