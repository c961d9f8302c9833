"""How data of a form that is not read becomes data of one that is."""

from __future__ import annotations

from pathlib import Path

#: The endings of files that are read.
READ = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson")

_SPREADSHEET = (
    "save it as CSV (UTF-8) in your spreadsheet program, or: "
    'pandas.read_excel("{name}").to_csv("{stem}.csv", index=False)'
)
_PACKED = "unpack it first, and name the file or the folder of files that it holds"
_PICKLE = "a pickle can run any code, and is never read: load it where you made it, and write table.to_parquet(...)"
_CONVERSIONS = {
    (".xlsx", ".xls", ".xlsm", ".ods"): _SPREADSHEET,
    (".zip", ".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z"): _PACKED,
    (".arrow",): 'datasets.Dataset.from_file("{name}").to_parquet("{stem}.parquet")',
    (".feather",): 'pandas.read_feather("{name}").to_parquet("{stem}.parquet")',
    (".orc",): 'pandas.read_orc("{name}").to_parquet("{stem}.parquet")',
    (".pkl", ".pickle", ".pt", ".pth", ".npy", ".npz", ".joblib"): _PICKLE,
    (".db", ".sqlite", ".sqlite3"): 'pandas.read_sql("select ...", connection).to_csv("{stem}.csv", index=False)',
    (".xml",): 'pandas.read_xml("{name}").to_csv("{stem}.csv", index=False)',
    (".txt", ".text", ".psv", ".dat"): (
        "lines of text have no columns: write a CSV file with a header, such as text,label; columns between other "
        'marks: pandas.read_csv("{name}", sep="|").to_csv("{stem}.csv", index=False)'
    ),
}
_OTHERWISE = "write it as one of them, such as table.to_csv(...) of a pandas table"
# what a file begins with that has the wrong ending
_BEGINNINGS = {
    b"PK\x03\x04": "a spreadsheet or zip archive",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "packed by gzip",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def is_data_file(name: str) -> bool:
    """Whether a name ends as that of a file of rows, of a form that is read or of one that could be converted."""
    ending = Path(name).suffix.lower()
    return ending in READ or any(ending in endings for endings in _CONVERSIONS)


def conversion(path: Path) -> str:
    """What to do with a file of another form, in a few words."""
    ending = path.suffix.lower()
    text = next((text for endings, text in _CONVERSIONS.items() if ending in endings), _OTHERWISE)
    form = f"{ending} files are not read" if ending else "its name has no ending that says its form"
    return f"{form} ({', '.join(READ)} are): {text.format(name=path.name, stem=path.stem)}"


def not_utf8(path: Path, content: bytes, start: int) -> str:
    """Why bytes are no UTF-8, and what to do.

    Args:
        start: the first byte that is wrong.
    """
    form = next((form for beginning, form in _BEGINNINGS.items() if content.startswith(beginning)), None)
    if form is not None and form != "UTF-16":
        return f"{path}: it is {form}, whatever its name says; {conversion(path.with_suffix('.zip'))}"
    encoding = form or "cp1252"
    line = content.count(b"\n", 0, start) + 1
    return (
        f"{path}:{line}: not UTF-8 (byte 0x{content[start]:02x}); save it as UTF-8, or, where it is {encoding}: "
        f"iconv -f {encoding} -t utf-8 {path.name} > new{path.suffix}"
    )
