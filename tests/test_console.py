from prunekit import console


def test_control_characters_are_shown_as_escapes():
    assert console.printable("a\x1b[31mb\x07\n") == "a\\x1b[31mb\\x07\n"
    assert console.printable("\u202ex") == "\\u202ex"
    assert console.printable("ünï") == "ünï"


def test_progress_is_a_few_plain_lines_without_a_terminal(capsys):
    with console.Screen().track("round 0", 10) as tick:
        for done in range(1, 11):
            tick(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "round 0: 10 of 10 updates"
    assert 2 < len(lines) < 8


def test_a_table_keeps_markup_as_text(capsys):
    console.show(["name", "n"], [["[red]x[/red]", "1"], [""], ["y", "22"]])
    out = capsys.readouterr().out
    assert "[red]x[/red]" in out
    assert " 22" in out
