"""What `fmrgb train` hands on to the loader."""

from fmrgb_stream.training.build import open_loader
from fmrgb_stream.training.experiment import train_run
from tests.support.runs import tiny_config


def test_the_clips_that_were_trained_on_are_noted_for_the_audit(classes_root, tmp_path):
    log = tmp_path / "log"
    config = tiny_config(classes_root, epochs=1, data={"audit_log": str(log)})

    train_run(config, tmp_path / "run")

    assert any(path.stat().st_size for path in log.rglob("*") if path.is_file())


def test_cache_checks_and_memory_reach_the_loader(classes_root, tmp_path):
    data = {"verify_checksums": False, "prefetch_bytes": 1 << 20, "audit_log": str(tmp_path)}

    with open_loader(tiny_config(classes_root, data=data), "val", training=True) as loader:
        config = loader.config

    assert (config.verify_checksums, config.prefetch_bytes) == (False, 1 << 20)
    assert config.audit_log == str(tmp_path)
