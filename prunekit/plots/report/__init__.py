"""One self-contained HTML page of runs: `build` reads them, `page` writes HTML, the others make its parts."""
