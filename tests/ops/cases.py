"""Every op at ordinary, single, odd and prime sizes: the table that all properties of ops are tested on."""

from __future__ import annotations

from cllm.testing import Case


def linear(columns: int, bias: bool = True):
    return lambda p, x: p.linear(x, "w", columns, bias=bias)


def linear_bf16(columns: int, bias: bool = True):
    return lambda p, x: p.linear_bf16(x, "w", columns, bias=bias)


def grouped(n_head: int, n_kv_head: int, dropout: float = 0.0):
    return lambda p, q, k, v: p.grouped_attention(q, k, v, "attn", n_head, n_kv_head, dropout)


def grouped_bf16(n_head: int, n_kv_head: int, dropout: float = 0.0):
    return lambda p, q, k, v: p.grouped_attention_bf16(q, k, v, "attn", n_head, n_kv_head, dropout)


def cross_entropy(
    dtype: str = "", logit_softcap: float = 0.0, label_smoothing: float = 0.0, z_loss: float = 0.0
):
    return lambda p, x: getattr(p, f"cross_entropy{dtype}")(
        x, "head", "wte.weight", logit_softcap, label_smoothing, z_loss
    )


CASES = [
    Case("linear", (48,), linear(64)),
    Case("linear_long", (3100,), linear(5)),
    Case("linear_no_bias", (31,), linear(37, bias=False), 3, 7),
    Case("linear_one", (1,), linear(1), 1, 1),
    Case("linear_many_tokens", (17,), linear(33), 3, 97),
    Case("linear_many_channels", (401,), linear(19), 1, 3),
    Case("linear_bf16", (48,), linear_bf16(64)),
    Case("linear_bf16_no_bias", (31,), linear_bf16(37, bias=False), 3, 7),
    Case("linear_bf16_one", (1,), linear_bf16(1), 1, 1),
    Case("linear_bf16_blocks_of_tokens", (17,), linear_bf16(33), 3, 197),
    Case("linear_bf16_many_channels", (401,), linear_bf16(19), 1, 3),
    Case("linear_bf16_blocks_of_channels", (8197,), linear_bf16(3), 1, 3),
    Case("linear_transposed", (48,), lambda p, x: p.linear_transposed(x, "w", 64)),
    Case("linear_transposed_no_bias", (31,), lambda p, x: p.linear_transposed(x, "w", 37, bias=False), 3, 7),
    Case("linear_transposed_one", (1,), lambda p, x: p.linear_transposed(x, "w", 1), 1, 1),
    Case("linear_transposed_many_tokens", (17,), lambda p, x: p.linear_transposed(x, "w", 33), 3, 97),
    Case("linear_transposed_many_channels", (401,), lambda p, x: p.linear_transposed(x, "w", 19), 1, 3),
    Case("linear_transposed_bf16", (48,), lambda p, x: p.linear_transposed_bf16(x, "w", 64)),
    Case("linear_transposed_bf16_odd", (31,), lambda p, x: p.linear_transposed_bf16(x, "w", 37, bias=False), 3, 7),
    Case("linear_transposed_bf16_one", (1,), lambda p, x: p.linear_transposed_bf16(x, "w", 1), 1, 1),
    Case("linear_transposed_bf16_blocks", (17,), lambda p, x: p.linear_transposed_bf16(x, "w", 33), 3, 197),
    Case("layernorm", (48,), lambda p, x: p.layernorm(x, "ln")),
    Case("layernorm_odd_no_bias", (13,), lambda p, x: p.layernorm(x, "ln", bias=False), 1, 3),
    Case("layernorm_one", (1,), lambda p, x: p.layernorm(x, "ln"), 1, 1),
    Case("layernorm_two", (2,), lambda p, x: p.layernorm(x, "ln", 0.5), 1, 1),
    Case("rmsnorm", (48,), lambda p, x: p.rmsnorm(x, "norm")),
    Case("rmsnorm_odd", (13,), lambda p, x: p.rmsnorm(x, "norm", 0.5), 1, 3),
    Case("rmsnorm_one", (1,), lambda p, x: p.rmsnorm(x, "norm", 0.5), 1, 1),
    Case("rmsnorm_of_heads", (3 * 18,), lambda p, x: p.rmsnorm(x, "norm", groups=3), 3, 7),
    Case("rotary_table", (), lambda p: p.rotary_table("tokens", "rope", 34), 3, 39),
    Case("rotary_table_one", (), lambda p: p.rotary_table("tokens", "rope", 2, 5.0), 1, 1),
    Case("rotary_table_documents", (), lambda p: p.rotary_table("tokens", "rope", 34), 3, 39, documents=(17, 18, 100)),
    Case("rotary", (3 * 18, 18), lambda p, x, table: p.rotary(x, table, "rope"), 3, 7),
    Case("rotary_wide", (66, 66), lambda p, x, table: p.rotary(x, table, "rope")),
    Case("rotary_one", (2, 2), lambda p, x, table: p.rotary(x, table, "rope"), 1, 1),
    Case("swiglu", (19, 19), lambda p, gate, up: p.swiglu(gate, up, "act")),
    Case("swiglu_one", (1, 1), lambda p, gate, up: p.swiglu(gate, up, "act"), 1, 1),
    Case("gelu", (19,), lambda p, x: p.gelu(x, "g")),
    Case("gelu_one", (1,), lambda p, x: p.gelu(x, "g"), 1, 1),
    Case("gelu_tanh", (19,), lambda p, x: p.gelu_tanh(x, "g")),
    Case("gelu_tanh_one", (1,), lambda p, x: p.gelu_tanh(x, "g"), 1, 1),
    Case("embedding", (), lambda p: p.embedding("tokens", "wte", 24)),
    Case("embedding_odd", (), lambda p: p.embedding("tokens", "wte", 7), 3, 7, 5),
    Case("embedding_one", (), lambda p: p.embedding("tokens", "wte", 1), 1, 1, 1),
    Case("position", (21,), lambda p, x: p.position(x, "wpe")),
    Case("position_one", (1,), lambda p, x: p.position(x, "wpe"), 3, 1),
    Case("position_documents", (21,), lambda p, x: p.position(x, "wpe"), 3, 7, documents=(2, 3, 18)),
    Case("add", (23, 23), lambda p, a, b: p.add(a, b, "sum")),
    Case("add_one", (1, 1), lambda p, a, b: p.add(a, b, "sum"), 1, 1),
    Case("fault_of_another_batch", (23,), lambda p, x: p.fault(x, "fault", 0, 1, 5)),
    Case("fault_of_another_sequence", (1,), lambda p, x: p.fault(x, "fault", 3, 7, 0), 1, 1),
    Case("dropout", (23,), lambda p, x: p.dropout(x, "drop", 0.3)),
    Case("dropout_one", (1,), lambda p, x: p.dropout(x, "drop", 0.5), 7, 1),
    Case("dropout_wide", (130,), lambda p, x: p.dropout(x, "drop", 0.5), 3, 2),
    Case("attention", (3 * 32,), lambda p, x: p.attention(x, "attn", 2), 2, 33),
    Case("attention_odd", (3 * 15,), lambda p, x: p.attention(x, "attn", 3), 2, 7),
    Case("attention_one", (3 * 1,), lambda p, x: p.attention(x, "attn", 1), 1, 1),
    Case("attention_blocks", (3 * 34,), lambda p, x: p.attention(x, "attn", 1), 1, 131),
    Case("attention_dropout", (3 * 12,), lambda p, x: p.attention(x, "attn", 2, 0.3), 2, 19),
    Case("attention_documents", (3 * 16,), lambda p, x: p.attention(x, "attn", 2), 2, 43, documents=(1, 18, 19, 60)),
    Case("attention_dropout_documents", (3 * 6,), lambda p, x: p.attention(x, "attn", 2, 0.3), 2, 9, documents=(4,)),
    Case("attention_bf16", (3 * 32,), lambda p, x: p.attention_bf16(x, "attn", 2), 2, 33),
    Case("attention_bf16_odd", (3 * 15,), lambda p, x: p.attention_bf16(x, "attn", 3), 2, 7),
    Case("attention_bf16_one", (3 * 1,), lambda p, x: p.attention_bf16(x, "attn", 1), 1, 1),
    Case("attention_bf16_blocks", (3 * 34,), lambda p, x: p.attention_bf16(x, "attn", 1), 1, 131),
    Case("attention_bf16_dropout", (3 * 12,), lambda p, x: p.attention_bf16(x, "attn", 2, 0.3), 2, 19),
    Case(
        "attention_bf16_documents", (3 * 16,), lambda p, x: p.attention_bf16(x, "attn", 2), 2, 43,
        documents=(1, 18, 19, 60),
    ),
    Case("grouped_attention", (4 * 16, 2 * 16, 2 * 16), grouped(4, 2), 2, 33),
    Case("grouped_attention_odd", (6 * 5, 3 * 5, 3 * 5), grouped(6, 3), 2, 7),
    Case("grouped_attention_one", (1, 1, 1), grouped(1, 1), 1, 1),
    Case("grouped_attention_blocks", (2 * 34, 34, 34), grouped(2, 1), 1, 67),
    Case("grouped_attention_dropout", (4 * 6, 2 * 6, 2 * 6), grouped(4, 2, 0.3), 2, 19),
    Case("grouped_attention_documents", (4 * 6, 2 * 6, 2 * 6), grouped(4, 2), 2, 19, documents=(3, 20, 31)),
    Case("grouped_attention_bf16", (4 * 16, 2 * 16, 2 * 16), grouped_bf16(4, 2), 2, 33),
    Case("grouped_attention_bf16_odd", (6 * 5, 3 * 5, 3 * 5), grouped_bf16(6, 3), 2, 7),
    Case("grouped_attention_bf16_one", (1, 1, 1), grouped_bf16(1, 1), 1, 1),
    Case("grouped_attention_bf16_blocks", (2 * 34, 34, 34), grouped_bf16(2, 1), 1, 67),
    Case("grouped_attention_bf16_dropout", (4 * 6, 2 * 6, 2 * 6), grouped_bf16(4, 2, 0.3), 2, 19),
    Case("grouped_attention_bf16_documents", (4 * 6, 2 * 6, 2 * 6), grouped_bf16(4, 2), 2, 19, documents=(3, 20, 31)),
    Case("cross_entropy", (24,), lambda p, x: p.cross_entropy(x, "head", "wte.weight"), 2, 9, 65),
    Case("cross_entropy_odd", (7,), lambda p, x: p.cross_entropy(x, "head", "wte.weight"), 3, 43, 11),
    Case("cross_entropy_one", (1,), lambda p, x: p.cross_entropy(x, "head", "wte.weight"), 1, 1, 2),
    Case("cross_entropy_long", (3,), lambda p, x: p.cross_entropy(x, "head", "wte.weight"), 2, 9, 3100),
    Case("cross_entropy_capped", (24,), cross_entropy(logit_softcap=3.0), 2, 9, 65),
    Case("cross_entropy_smoothed", (24,), cross_entropy(label_smoothing=0.1), 2, 9, 65),
    Case("cross_entropy_z_loss", (24,), cross_entropy(z_loss=0.01), 2, 9, 65),
    Case("cross_entropy_all", (7,), cross_entropy(logit_softcap=2.0, label_smoothing=0.2, z_loss=0.1), 3, 43, 11),
    Case("cross_entropy_bf16_all", (7,), cross_entropy("_bf16", 2.0, 0.2, 0.1), 3, 43, 11),
    Case("cross_entropy_bf16", (24,), lambda p, x: p.cross_entropy_bf16(x, "head", "wte.weight"), 2, 9, 65),
    Case("cross_entropy_bf16_odd", (7,), lambda p, x: p.cross_entropy_bf16(x, "head", "wte.weight"), 3, 43, 11),
    Case("cross_entropy_bf16_one", (1,), lambda p, x: p.cross_entropy_bf16(x, "head", "wte.weight"), 1, 1, 2),
]
