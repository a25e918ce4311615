from typer.testing import CliRunner

from asr.cli.app import app


def diagnose(*arguments):
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)])


def test_a_table_and_a_page_of_real_recordings(tone_model, tmp_path):
    audio = sorted((tone_model.parent / "tones").rglob("*.wav"))[:3]
    done = diagnose(tone_model, *audio, "--out", tmp_path / "page.html")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("layer ")
    assert lines[1].startswith("network ")
    assert lines[2].startswith("layer 1 forward ")
    assert "3 recordings" in (tmp_path / "page.html").read_text()


def test_no_page_is_overwritten(tone_model, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    done = diagnose(tone_model, tone_model.parent / "tones", "--out", page)
    assert done.exit_code == 1
    assert done.stderr == f"asr diagnose: {page}: already exists; expected a new file\n"
    assert page.read_text() == "mine"


def test_a_recording_that_is_missing_is_named(tone_model, tmp_path):
    done = diagnose(tone_model, tmp_path / "nope.wav")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"asr diagnose: {tmp_path / 'nope.wav'}: ")
    assert done.stdout == ""


def test_a_broken_recording_does_not_stop_the_others(tone_model, tmp_path):
    first, *_, last = sorted((tone_model.parent / "tones").rglob("*.wav"))
    broken, page = tmp_path / "broken.wav", tmp_path / "page.html"
    broken.write_bytes(b"RIFF and no more")
    done = diagnose(tone_model, first, broken, last, "--out", page)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"asr diagnose: {broken}: ")
    assert done.stdout == diagnose(tone_model, first, last).stdout
    assert "2 recordings" in page.read_text()
