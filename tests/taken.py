"""For tests of what comes after the judge: a candidate is taken whatever it gains, forgets or leaves out."""


def take_all(monkeypatch):
    """Let the judge ask for no gain, no number of activities, and nothing that stays."""
    for rule in ("_too_few", "_no_gain", "_lost"):
        monkeypatch.setattr(f"sdk.finetune.judge.{rule}", lambda *_: "")
