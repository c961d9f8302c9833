"""Studies: which published claims hold, planned before they run, and pages that are made of the numbers alone.

A study is a folder with `plan.md` (written first), `study.toml` (the experiments), `results/` (small tables) and the
page `README.md`. Its code says how the tables are made of runs, and which questions are asked of them.
What takes many hours runs part by part (`run NAME --part PART`), each with tables of its own in `results/PART/`.
Nothing of them is shown before the last part has ended.
"""
