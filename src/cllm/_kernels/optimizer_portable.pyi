SEGMENT_SIZE: int

def adamw(
    parameters: int, gradient: int, first: int, second: int, segments: int, n_segments: int,
    learning_rate: float, beta1: float, beta2: float, epsilon: float, correction1: float, correction2: float,
    gradient_scale: float, n_threads: int, busy: int,
) -> bool: ...
def sgd(
    parameters: int, gradient: int, velocity: int, segments: int, n_segments: int,
    learning_rate: float, momentum: float, gradient_scale: float, n_threads: int, busy: int,
) -> bool: ...
def lion(
    parameters: int, gradient: int, momentum: int, segments: int, n_segments: int, learning_rate: float,
    beta1: float, beta2: float, gradient_scale: float, n_threads: int, busy: int,
) -> bool: ...
def average(mean: int, parameters: int, n: int, weight: float, n_threads: int, busy: int) -> None: ...
