"""The ops: one file each, with its shape rule, its float64 definition and what the engine must know of it."""

from cllm.ops.add import ADD
from cllm.ops.attention import ATTENTION, ATTENTION_BF16, GROUPED_ATTENTION, GROUPED_ATTENTION_BF16
from cllm.ops.cross_entropy import CROSS_ENTROPY, CROSS_ENTROPY_BF16, LOGITS, LOGITS_BF16
from cllm.ops.dropout import DROPOUT
from cllm.ops.embedding import EMBEDDING
from cllm.ops.fault import FAULT
from cllm.ops.gelu import GELU, GELU_TANH
from cllm.ops.kind import Call, OpKind
from cllm.ops.layernorm import LAYERNORM
from cllm.ops.linear import LINEAR, LINEAR_BF16, LINEAR_TRANSPOSED, LINEAR_TRANSPOSED_BF16
from cllm.ops.position import POSITION
from cllm.ops.rmsnorm import RMSNORM
from cllm.ops.rotary import ROTARY, ROTARY_TABLE
from cllm.ops.swiglu import SWIGLU

__all__ = ["OPS", "Call", "OpKind"]

OPS = {
    kind.name: kind
    for kind in (
        ADD, ATTENTION, ATTENTION_BF16, CROSS_ENTROPY, CROSS_ENTROPY_BF16, DROPOUT, EMBEDDING, FAULT, GELU, GELU_TANH,
        GROUPED_ATTENTION, GROUPED_ATTENTION_BF16, LAYERNORM, LINEAR, LINEAR_BF16, LINEAR_TRANSPOSED,
        LINEAR_TRANSPOSED_BF16, LOGITS, LOGITS_BF16, POSITION, RMSNORM, ROTARY, ROTARY_TABLE, SWIGLU,
    )
}
