"""cllm's own parts, as a plugin like anyone's: names, one line about each, and where they are.

Nothing but these lines is imported until a config names a part.
"""

from __future__ import annotations

from collections.abc import Iterator

from cllm.hooks import (
    CheckSpec,
    CommunicatorSpec,
    DatasetSpec,
    InitializerSpec,
    ModelSpec,
    OptimizerSpec,
    ReducerSpec,
    ScheduleSpec,
    SinkSpec,
    TokenizerSpec,
    hookimpl,
)


@hookimpl
def cllm_register_datasets() -> Iterator[DatasetSpec]:
    text = "cllm.builtin.text"
    yield DatasetSpec("text", "text files, folders and globs, in UTF-8", f"{text}:TextDataset", f"{text}:TextConfig")
    jsonl = "cllm.builtin.jsonl"
    yield DatasetSpec("jsonl", "files with a JSON object a line", f"{jsonl}:JsonlDataset", f"{jsonl}:JsonlConfig")
    csv = "cllm.builtin.csv"
    yield DatasetSpec("csv", "tables with a header, each row a document", f"{csv}:CsvDataset", f"{csv}:CsvConfig")
    markdown = "cllm.builtin.markdown"
    summary = "Markdown files, without their front matter"
    yield DatasetSpec("markdown", summary, f"{markdown}:MarkdownDataset", f"{markdown}:MarkdownConfig")
    repo = "cllm.builtin.repo"
    summary = "the text files of a source tree, as .gitignore has it"
    yield DatasetSpec("repo", summary, f"{repo}:RepoDataset", f"{repo}:RepoConfig")
    squad = "cllm.builtin.squad"
    yield DatasetSpec("squad", "SQuAD v1.1 and v2.0 JSON files", f"{squad}:SquadDataset", f"{squad}:SquadConfig")
    pydoc = "cllm.builtin.pydoc"
    yield DatasetSpec("pydoc", "the help topics of Python itself", f"{pydoc}:PydocDataset", f"{pydoc}:PydocConfig")


@hookimpl
def cllm_register_tokenizers() -> Iterator[TokenizerSpec]:
    yield TokenizerSpec("byte", "the bytes of the text in UTF-8", "cllm.data.tokenizers:ByteTokenizer")
    yield TokenizerSpec("char", "the characters that the text has", "cllm.data.tokenizers:CharTokenizer")
    bpe = "cllm.data.bpe"
    summary = "frequent sequences of bytes, learned from the text; needs cllm[tokenizers]"
    yield TokenizerSpec("bpe", summary, f"{bpe}:BpeTokenizer", f"{bpe}:BpeConfig")


@hookimpl
def cllm_register_models() -> Iterator[ModelSpec]:
    gpt2, llama = "cllm.models.gpt2", "cllm.models.llama"
    summary = "GPT-2: learned positions, norm first, tied head"
    yield ModelSpec("gpt2", summary, f"{gpt2}:build", options=f"{gpt2}:options")
    summary = "Llama: rotary positions, RMS norms, gated perceptron, grouped-query attention; with qk_norm as Qwen3"
    yield ModelSpec("llama", summary, f"{llama}:build", options=f"{llama}:options")


@hookimpl
def cllm_register_initializers() -> Iterator[InitializerSpec]:
    module = "cllm.builtin.initializers"
    yield InitializerSpec("family", "as the model family says: GPT-2's", f"{module}:Family")
    summary = "every matrix with one deviation, whatever its place"
    yield InitializerSpec("normal", summary, f"{module}:Normal", f"{module}:NormalConfig")
    summary = "every matrix by its rows and columns (Glorot and Bengio 2010)"
    yield InitializerSpec("xavier", summary, f"{module}:Xavier", f"{module}:XavierConfig")


@hookimpl
def cllm_register_reducers() -> Iterator[ReducerSpec]:
    reducers = "cllm.builtin.reducers"
    yield ReducerSpec("tree", "the sum, along a fixed tree over the shards", f"{reducers}:TreeReducer")
    yield ReducerSpec("ordered", "the sum, shard after shard", f"{reducers}:OrderedReducer")


@hookimpl
def cllm_register_stability_checks() -> Iterator[CheckSpec]:
    checks = "cllm.builtin.checks"
    summary = "stops at a loss, gradient or parameter that is not finite; always on"
    yield CheckSpec("finite", summary, f"{checks}:FiniteCheck", f"{checks}:FiniteConfig")
    yield CheckSpec("clip", "clips the global gradient norm", f"{checks}:ClipCheck", f"{checks}:ClipConfig")
    summary = "skips steps whose loss or gradient norm leaps out of the recent ones"
    yield CheckSpec("spike", summary, f"{checks}:SpikeCheck", f"{checks}:SpikeConfig")
    watching = "cllm.builtin.watching"
    summary = "lowers the learning rate while an update would change a weight by too large a share"
    yield CheckSpec("update_ratio", summary, f"{watching}:UpdateRatioCheck", f"{watching}:UpdateRatioConfig")
    summary = "stops where a parameter has had no gradient for many steps"
    yield CheckSpec("dead_gradient", summary, f"{watching}:DeadGradientCheck", f"{watching}:DeadGradientConfig")
    summary = "lowers the learning rate where the loss stands still"
    yield CheckSpec("plateau", summary, f"{watching}:PlateauCheck", f"{watching}:PlateauConfig")


@hookimpl
def cllm_register_optimizers() -> Iterator[OptimizerSpec]:
    optimizers = "cllm.builtin.optimizers"
    yield OptimizerSpec("adamw", "Adam with decoupled weight decay", f"{optimizers}:AdamW", f"{optimizers}:AdamWConfig")
    yield OptimizerSpec("lion", "steps of the momentum's sign", f"{optimizers}:Lion", f"{optimizers}:LionConfig")
    muon = "cllm.builtin.muon"
    summary = "orthogonal updates of matrices, AdamW of the rest"
    yield OptimizerSpec("muon", summary, f"{muon}:Muon", f"{muon}:MuonConfig")
    yield OptimizerSpec("sgd", "gradient descent, with momentum", f"{optimizers}:SGD", f"{optimizers}:SGDConfig")


@hookimpl
def cllm_register_schedules() -> Iterator[ScheduleSpec]:
    module = "cllm.builtin.schedules"
    yield ScheduleSpec("constant", "warm-up, then always 1", f"{module}:Constant", f"{module}:ConstantConfig")
    yield ScheduleSpec("cosine", "warm-up, then half a cosine", f"{module}:Cosine", f"{module}:CosineConfig")
    yield ScheduleSpec("linear", "warm-up, then a straight line", f"{module}:Linear", f"{module}:LinearConfig")
    yield ScheduleSpec("wsd", "warm-up, 1 for long, then a straight line", f"{module}:WSD", f"{module}:WSDConfig")


@hookimpl
def cllm_register_sinks() -> Iterator[SinkSpec]:
    sinks = "cllm.builtin.sinks"
    yield SinkSpec("console", "a progress line on standard error", f"{sinks}:ConsoleSink", f"{sinks}:ConsoleConfig")
    yield SinkSpec("jsonl", "metrics.jsonl in the run folder", f"{sinks}:JsonlSink", f"{sinks}:JsonlConfig")
    yield SinkSpec("csv", "metrics.csv in the run folder, for spreadsheets", f"{sinks}:CsvSink", f"{sinks}:CsvConfig")


@hookimpl
def cllm_register_communicators() -> Iterator[CommunicatorSpec]:
    yield CommunicatorSpec("single", "one process, which has nobody to speak to", "cllm.builtin.single:Single")
