"""The plugin: what a config can name. The loader itself stands in rows.py, which alone imports pyarrow."""

from __future__ import annotations

from collections.abc import Iterator

from cllm.hooks import DatasetSpec, hookimpl

cllm_api = ">=1,<2"  # the versions of cllm's hooks for which this is written


@hookimpl
def cllm_register_datasets() -> Iterator[DatasetSpec]:
    rows = "cllm_parquet.rows"
    yield DatasetSpec("parquet.rows", "the rows of Parquet files", f"{rows}:ParquetDataset", f"{rows}:ParquetConfig")
