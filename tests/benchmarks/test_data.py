"""What the benchmark of data says of how cost grows, on figures made by hand."""

from pathlib import Path

import pytest

from benchmarks import data


def test_what_grows_is_seen_beneath_what_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 MB of tokenising hide a survey of 10 bytes a document, which decides what 5 GB take."""

    def measured(size: int, letters: int) -> dict[str, float]:
        documents = size * 1e6 / letters
        return {
            "documents": documents,
            "tokens": 5.0,
            "seconds": size / 5,
            "survey": documents * 10 / 1e6,
            "tokenise": 60.0,
            "worker": 0.0,
        }

    monkeypatch.setattr(data, "_measured", measured)
    found = data.growth()
    assert [curve.at for curve in found.curves] == [
        list(sizes) for sizes in data.SIZES.values() for _ in range(2)
    ]
    assert found.curves[1].lines["tokenising"] == [60.0] * 3
    said = [line for line in found.text if line.startswith("Documents of")]
    for line, documents, memory in zip(
        said, ("5,000,000", "125,000,000"), ("60", "1,250"), strict=True
    ):
        expected = (
            f"5 GB ({documents} documents) take {memory} MB (and 50 MB of remembered "
            "words), and 17 minutes"
        )
        assert expected in line
    assert "adds 10.0 bytes to the survey and 0.0 to tokenising" in said[1]
    assert sum(line.startswith("| 40 | ") for line in found.text) == len(data.SIZES[40])


def test_documents_of_the_length_that_is_asked_for(tmp_path: Path) -> None:
    assert data._write_documents(tmp_path / "text.txt", 1000, 40) == 1000
    lines = (tmp_path / "text.txt").read_text().splitlines(keepends=True)
    assert {len(line) for line in lines} == {40} and len(set(lines)) == 1000


@pytest.mark.parametrize("typed", ["size=big", "letters=0", "sise=5", "5000"])
def test_a_mistyped_corpus_is_a_persons_mistake(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data.main([typed]) == 2
    assert capsys.readouterr().err.startswith("error: ")
