import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent

FLOORS = {
    -1: {"errors"},
    0: {"compatibility", "container", "text"},
    1: {
        "audio",
        "augment",
        "batching",
        "boosts",
        "config",
        "download",
        "features",
        "folder",
        "gmm",
        "lexicon",
        "manifest",
        "minimal_pairs",
        "nbest",
        "ngram_trie",
        "recurrent",
        "sentences",
        "softmax",
        "stages",
        "subword",
        "threads",
        "transcripts",
        "trie",
        "ways",
        "wer",
    },
    2: {
        "acoustic",
        "arpa",
        "bootstrap",
        "corpus",
        "decision_tree",
        "pipeline",
        "pruning",
        "tokenizer",
        "vocabulary",
    },
    3: {
        "agreement",
        "alternatives",
        "contexts",
        "ctc",
        "dataset",
        "decoder",
        "emissions",
        "events",
        "hmm",
        "kenlm",
        "kneser_ney",
        "ngram",
        "perplexity",
        "report",
        "results",
        "rnnlm",
        "sampling",
        "search",
        "tree_growth",
        "unknown_words",
    },
    4: {
        "alignment",
        "checkpoint",
        "flashlight",
        "fusion",
        "hmm_graph",
        "hypotheses",
        "inspection",
        "language_model",
        "letter_to_sound",
        "rescore",
        "training",
        "training.ngram",
        "training.optim",
        "training.stream",
        "training.run",
    },
    5: {
        "activation_page",
        "alignment_picture",
        "hmm_paths",
        "prefixes",
        "tuning",
        "cli.lm_results",
        "training.graphs",
        "training.hmm_settings",
        "training.speech",
    },
    6: {
        "aligner",
        "beam",
        "cli.lm",
        "hmm_beam",
        "training.ctc",
        "training.lm",
        "training.triphones",
    },
    7: {"decoding", "training.hmm_data", "training.hybrid_data"},
    8: {"recognizer", "cli.info", "cli.score", "training.hmm", "training.hybrid"},
    9: {"cli.transcribe", "evaluation", "views"},
    10: {"comparison", "cli"},
    11: {"cli.__main__"},
}
FLOOR = {module: floor for floor, modules in FLOORS.items() for module in modules}


def modules():
    for path in sorted((ROOT / "asr").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "asr").with_suffix("").parts)
        name = name.removesuffix(".__init__")
        if name != "__init__":
            yield name, path


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def test_every_module_stands_on_a_floor():
    assert {name for name, _ in modules()} == set(FLOOR)


def test_modules_import_only_from_lower_floors():
    for name, path in modules():
        for imported in imports(path):
            module = imported.removeprefix("asr.")
            if imported.startswith("asr.") and module in FLOOR:
                assert FLOOR[module] < FLOOR[name], f"asr.{name} imports asr.{module}"


def test_only_training_and_recipes_import_lightning():
    for name, path in modules():
        if not name.startswith("training"):
            assert not any("lightning" in imported for imported in imports(path)), name
