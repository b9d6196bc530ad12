"""metadata.jsonl, .csv and .parquet -> rows, in the convention of Hugging Face's imagefolder."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from flux_lora.data.sources.rows import BOX_COLUMN, CAPTION_COLUMNS, FILE_COLUMN, SIDE_COLUMNS, Row, row_of
from flux_lora.data.sources.source import Columns
from flux_lora.data.sources.texts import LINE_ENDS, read_text_file
from flux_lora.errors import DataError

TABLE_ENDINGS = (".jsonl", ".csv", ".parquet")
METADATA = frozenset(f"metadata{ending}" for ending in TABLE_ENDINGS)
"""Tables that speak for the pictures of their own folder and those below it."""
MOST_TABLE_BYTES = 2**28
ROWS_AT_ONCE = 16


def read_table(file: Path, columns: Columns) -> Iterator[Row]:
    """Its rows in order. A row that cannot be read says so and the next one is read."""
    if file.suffix.lower() == ".parquet":
        yield from _parquet_rows(file, columns)
        return
    told = read_text_file(file, most_bytes=MOST_TABLE_BYTES)
    if told.undecodable:
        yield Row("", problem=told.why)
        return
    read = _csv_rows if file.suffix.lower() == ".csv" else _jsonl_rows
    for row in read(told.text, columns):
        yield replace(row, encoding=told.encoding)


def holds_pictures(file: Path, columns: Columns) -> bool:
    """Whether the table carries pictures rather than name them, by the first row that can be read."""
    first = next((row for row in read_table(file, columns) if not row.problem), None)
    return first is not None and first.picture is not None


def _jsonl_rows(text: str, columns: Columns) -> Iterator[Row]:
    for number, line in enumerate(LINE_ENDS.split(text), start=1):
        where = f"line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            yield Row(where, problem="is not JSON")
            continue
        yield row_of(where, values, columns) if isinstance(values, dict) else Row(where, problem="is no JSON object")


def _csv_rows(text: str, columns: Columns) -> Iterator[Row]:
    """Separated by commas, or by what the header uses: spreadsheets of some countries write semicolons."""
    first_line = LINE_ENDS.split(text, maxsplit=1)[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first_line.count))
    try:
        header = next(rows, [])
        if not {FILE_COLUMN, columns.image} & set(header):
            yield Row("", problem=f"has no column {FILE_COLUMN!r}; its first line must name the columns")
            return
        for values in rows:
            where = f"line {rows.line_num}"
            if len(values) > len(header):
                yield Row(where, problem=f"has {len(values)} cells for {len(header)} columns: its text needs quotes")
            elif values:
                yield row_of(where, dict(zip(header, values, strict=False)), columns)
    except csv.Error as error:
        yield Row(f"line {rows.line_num}", problem=f"is not CSV ({error}), and nothing after it was read")


def _parquet_rows(file: Path, columns: Columns) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(
            f"{file} is a parquet table, and pyarrow is not installed", fix="run: pip install 'flux_lora[datasets]'"
        ) from None
    number = 0
    wanted = {FILE_COLUMN, columns.image, columns.caption, *CAPTION_COLUMNS, BOX_COLUMN, *SIDE_COLUMNS}
    try:
        with ParquetFile(file) as table:
            named = [name for name in table.schema_arrow.names if name in wanted]
            batches = table.iter_batches(batch_size=ROWS_AT_ONCE, columns=named)
            for values in chain.from_iterable(rows.to_pylist() for rows in batches):
                number += 1
                yield row_of(f"row {number}", values, columns)
    except (ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Row("", problem=f"cannot be read after row {number} ({reason})")
