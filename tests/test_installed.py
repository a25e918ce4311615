import pytest

from asr import installed
from asr.errors import InputError
from asr.installed import default_model, install_model, installed_models, model_folder, model_places


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two folders of $ASR_MODELS, the user's and the package's, each with a model of its own."""
    monkeypatch.setenv("ASR_MODELS", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(installed, "PACKAGED", tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    for place, names in {
        "first": ["a"],
        "second": ["a", "b"],
        "home/asr": ["c"],
        "packaged": ["c", "small"],
    }.items():
        for name in names:
            make_model(tmp_path / place / name)
    return tmp_path


def make_model(folder):
    (folder / "decoding" / "lm").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    for name in ("model.json", "weights.safetensors", "decoding/lm/model.json", "checkpoints/a"):
        (folder / name).write_text(str(folder))
    return folder


def test_models_are_found_by_name_in_the_first_place_that_has_them(places):
    assert installed_models() == {
        "a": places / "first" / "a",
        "b": places / "second" / "b",
        "c": places / "home" / "asr" / "c",
        "small": places / "packaged" / "small",
    }
    assert model_folder("small") == places / "packaged" / "small"


def test_without_variables_the_users_place_is_in_the_home(monkeypatch, tmp_path):
    monkeypatch.delenv("ASR_MODELS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_places() == [tmp_path / ".local" / "share" / "asr", installed.PACKAGED]


def test_a_model_at_the_path_comes_before_an_installed_one(places):
    make_model(places / "small")
    assert str(model_folder("small")) == "small"
    (places / "b").mkdir()  # some other folder
    assert model_folder("b") == places / "second" / "b"
    assert str(model_folder("exp/small")) == "exp/small"


def test_an_unknown_name_is_refused_with_the_known_ones(places):
    with pytest.raises(InputError, match=r"^x: is no folder .* \(one of a, b, c, small\)"):
        model_folder("x")


def test_the_default_model_is_the_first_en_small(places):
    line = r"^model is missing, and its default, en-small, is not installed; .* \(one of a, b, c, "
    with pytest.raises(InputError, match=line):
        default_model()
    for place in ("packaged", "second"):
        make_model(places / place / "en-small")
        assert default_model() == places / place / "en-small"


def test_an_empty_name_is_refused():
    with pytest.raises(InputError, match="the path is ''"):
        model_folder("")


def test_an_installed_model_has_its_parts_and_no_checkpoints(places):
    source = make_model(places / "exp" / "run")
    folder = install_model(source, "mine-1.0")
    assert folder == places / "first" / "mine-1.0"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"model.json", "weights.safetensors", "decoding/lm/model.json"}
    assert model_folder("mine-1.0") == folder
    assert sorted(path.name for path in folder.parent.iterdir()) == ["a", "mine-1.0"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "ä", "a b"])
def test_names_that_are_no_names_are_refused(places, name):
    with pytest.raises(InputError, match="expected letters, digits"):
        install_model(make_model(places / "exp" / "run"), name)


def test_an_installed_model_is_not_overwritten(places):
    with pytest.raises(InputError, match="first/a: already exists"):
        install_model(make_model(places / "exp" / "run"), "a")
    assert (places / "first/a/model.json").read_text() == str(places / "first" / "a")


def test_nothing_is_left_if_a_file_cant_be_copied(places):
    source = make_model(places / "exp" / "run")
    (source / "decoding" / "lexicon.dic").symlink_to("nowhere")
    with pytest.raises(OSError, match="lexicon"):
        install_model(source, "mine")
    assert sorted(path.name for path in (places / "first").iterdir()) == ["a"]
