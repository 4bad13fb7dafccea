"""What there is to set: the tables of a config file and their defaults.

All values are frozen; `msgspec.structs.replace` makes changed copies.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from cllm.env import MOST_THREADS

# The descriptions are what an error says was expected.
Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
CountOrZero = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Threads = Annotated[int, Meta(ge=1, le=MOST_THREADS, description=f"a whole number, 1 to {MOST_THREADS}")]
Positive = Annotated[float, Meta(gt=0.0, description="a number above 0")]
NotNegative = Annotated[float, Meta(ge=0.0, description="a number of at least 0")]
Share = Annotated[float, Meta(ge=0.0, lt=1.0, description="a number of at least 0 and below 1")]
RunName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", description="letters, digits, dots, _ and -, as my-run"),
]
Text = Annotated[str, Meta(min_length=1, description="text")]


class ModelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[model] The shape of the model. A preset fills in the sizes that are left out, the family its own options.

    family: the model's plugin: gpt2, llama
    preset: tiny, mini, small, medium or gpt2; without one, sizes that are left out are tiny's
    block_size: T, tokens that the model sees at once
    n_layer: L, blocks
    n_head: NH, attention heads; n_embd is a multiple of it
    n_embd: C, channels
    vocab_size: V; left out, the data decides
    dropout: share of activations that is dropped in training
    dtype: of what matrix products multiply, float32 or bfloat16; what is stored, added up and normalised is float32
    logit_softcap: logits go through c tanh(logits / c); 0 for none
    bias: of gpt2: whether linear layers and norms have biases; true
    activation: of gpt2: gelu_tanh (as GPT-2) or gelu (exact); gelu_tanh
    layernorm_epsilon: of gpt2: added to the variance; 1e-5
    n_kv_head: of llama: heads of keys and values, a divisor of n_head; as many
    n_inner: of llama: channels inside a block's perceptron; 8/3 of n_embd, rounded up to a multiple of 32
    rope_theta: of llama: the base of the rotary positions' frequencies; 10000
    rmsnorm_epsilon: of llama: added to the mean square; 1e-6
    qk_norm: of llama: whether the queries and keys of each head are normalised, as in Qwen3; false
    tie_embeddings: of llama: whether the head is the token embedding; false
    options: of a plugin's family: what it has of its own
    """

    family: Text = "gpt2"
    preset: str | None = None
    block_size: Count = 64
    n_layer: Count = 4
    n_head: Count = 4
    n_embd: Count = 128
    vocab_size: Count | None = None
    dropout: Share = 0.0
    dtype: str = "float32"
    logit_softcap: NotNegative = 0.0
    bias: bool | None = None
    activation: Literal["gelu_tanh", "gelu"] | None = None
    layernorm_epsilon: Positive | None = None
    n_kv_head: Count | None = None
    n_inner: Count | None = None
    rope_theta: Positive | None = None
    rmsnorm_epsilon: Positive | None = None
    qk_norm: bool | None = None
    tie_embeddings: bool | None = None
    options: dict[str, Any] = field(default_factory=dict)


FAMILY_OPTIONS = (
    "bias", "activation", "layernorm_epsilon", "n_kv_head", "n_inner", "rope_theta", "rmsnorm_epsilon", "qk_norm",
    "tie_embeddings",
)


class MixturePart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[data.mixture]] One source of a mixture.

    path: prepared data, as in [data] path
    weight: its share of the samples, relative to the other weights
    """

    path: Text
    weight: Positive = 1.0


class DataConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[data] Where the tokens come from: exactly one of path, loader and mixture.

    path: prepared data (a folder, a .tokens file, nanoGPT's .bin) or a plain text file
    loader: a dataset plugin, which reads `source`
    source: what the loader reads: a file, a folder, a glob, or a list of them
    tokenizer: for text that is not prepared: a tokenizer plugin, or the path of a tokenizer.json
    tokenizer_options: options of a tokenizer plugin, as of one that learns from the text
    mixture: several prepared sources with weights
    sampling: shuffle (every window once an epoch) or random (windows anywhere)
    documents: in a window: joined (one after the other), separate (none sees another), or padded (one in each)
    loss: of which tokens, in training and evaluation: all, or answers, those that the loader marks
    validation: share of the text that is kept for validation, in whole documents where that can be; 0 for none
    options: options of the loader
    evaluate: more to measure, by names: prepared data or text, of which the part for validation if there is one, or all
    """

    path: Text | None = None
    loader: Text | None = None
    source: Text | list[Text] | None = None
    tokenizer: Text = "byte"
    tokenizer_options: dict[str, Any] = field(default_factory=dict)
    mixture: list[MixturePart] | None = None
    sampling: Literal["shuffle", "random"] = "shuffle"
    documents: Literal["joined", "separate", "padded"] = "joined"
    loss: Literal["all", "answers"] = "all"
    validation: Share = 0.1
    options: dict[str, Any] = field(default_factory=dict)
    evaluate: dict[str, Text] = field(default_factory=dict)

    @property
    def tokenizer_file(self) -> str | None:
        """The path that `tokenizer` is, where it is no plugin's name."""
        return self.tokenizer if self.tokenizer.endswith(".json") else None


class TrainConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[train] How long and in what portions: steps or epochs, not both.

    steps: updates; 1000 where epochs is not given either
    epochs: passes over the training part
    batch_size: B, sequences per update
    micro_batch_size: sequences per shard; left out, the size of the batch decides; threads never do
    label_smoothing: share of a target's probability that is spread over all words; in training, not in evaluation
    ema_decay: share that a moving average of the parameters keeps at each update; it is measured and used; 0 for none
    z_loss: times the square of the log of the sum of exponentials of a token's logits; in training, not in evaluation
    seed: of initial values, order of samples and dropout; below 2^32
    eval_every: steps between evaluations; 0 for only at the end
    eval_batches: batches per evaluation; 0 for the whole validation part
    patience: evaluations in a row without a smaller loss after which the run ends; 0 for never
    threads: left out, the physical cores within affinity and quota; changes no bit
    executor: in which order threads and shards come, other than fused for tests; changes no bit
    digest_every: steps between digests in the ledger
    sample_tokens: tokens that are written after each evaluation, to see what the model has learned; 0 for none
    sample_prompt: what they go on from
    log_every: steps between progress lines
    inject_nan: the update, counted from 1, whose batch is given a NaN, to see what the run does then
    inject_nan_in: forward or, if it is left out, backward
    """

    steps: Count | None = None
    epochs: Positive | None = None
    batch_size: Count = 12
    micro_batch_size: Count | None = None
    label_smoothing: Share = 0.0
    z_loss: NotNegative = 0.0
    ema_decay: Share = 0.0
    seed: CountOrZero = 1337
    eval_every: CountOrZero = 250
    eval_batches: CountOrZero = 20
    patience: CountOrZero = 0
    threads: Threads | None = None
    executor: Literal["fused", "permuted", "adversarial"] = "fused"
    digest_every: Count = 100
    sample_tokens: CountOrZero = 0
    sample_prompt: Text = "\n"
    log_every: Count = 10
    inject_nan: Count | None = None
    inject_nan_in: Literal["forward", "backward"] | None = None


class Part(Struct, frozen=True):
    """A plugin's part by name, with its options, which in TOML stand beside `name`."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


class CheckpointConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[checkpoint] When states are saved and which are kept.

    every: steps between checkpoints; 0 for only at the end
    keep: how many of the newest are kept
    keep_best: whether the one with the smallest validation loss is kept besides
    snapshot_mb: megabytes of memory for copies of the newest of them, from which a rewind is quicker; changes no bit
    """

    every: CountOrZero = 1000
    keep: Count = 3
    keep_best: bool = False
    snapshot_mb: CountOrZero = 0


class DistConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[dist] How several processes work together.

    communicator: single, that is one process, or a plugin's, such as mpi
    options: what the communicator has of its own, which stands beside it
    """

    communicator: Text = "single"
    options: dict[str, Any] = field(default_factory=dict)


class PluginsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[plugins] Whose code may run.

    allow: packages whose plugins may be loaded, by their names for pip; left out, all that are installed
    """

    allow: list[Text] | None = None


DEFAULT_CHECKS = {"finite": Part("finite"), "clip": Part("clip"), "spike": Part("spike")}
DEFAULT_SINKS = {"console": Part("console"), "jsonl": Part("jsonl")}


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[the whole file] A name, and tables of what to set.

    name: the run folder is runs/NAME-N
    model: the shape of the model
    data: where the tokens come from
    train: how long and in what portions
    initializer: of the parameters: its name, and its options beside it
    optimizer: likewise
    schedule: of the learning rate, likewise
    reducer: how the gradients of shards are combined, likewise
    checks: tables by label, which is the name unless there is one; finite is always there, clip and spike unless false
    sinks: tables by label, likewise; console and jsonl are there unless set to false
    metrics: numbers to log beside cllm's own, which plugins bring: tables by label, likewise
    checkpoint: when states are saved and which are kept
    dist: how several processes work together
    plugins: whose code may run
    """

    name: RunName = "run"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    initializer: Part = field(default_factory=lambda: Part("family"))
    optimizer: Part = field(default_factory=lambda: Part("adamw"))
    schedule: Part = field(default_factory=lambda: Part("cosine"))
    reducer: Part = field(default_factory=lambda: Part("tree"))
    checks: dict[str, Part] = field(default_factory=lambda: dict(DEFAULT_CHECKS))
    sinks: dict[str, Part] = field(default_factory=lambda: dict(DEFAULT_SINKS))
    metrics: dict[str, Part] = field(default_factory=dict)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    dist: DistConfig = field(default_factory=DistConfig)
    plugins: PluginsConfig = field(default_factory=PluginsConfig)

    @property
    def tokens_per_step(self) -> int:
        """Of the whole batch, over all shards."""
        return self.train.batch_size * self.model.block_size
