"""Contract kits: what every plug-in of a folder must keep, as test classes to inherit. They need pytest.

A package outside writes a subclass whose name begins with `Test`, in a test file of its own; `config` says how its plug-in is set:

    from bessemer.testing.metrics import MetricContract

    class TestMcc(MetricContract):
        def config(self, folder):
            return Mcc()

| folder | kit |
|---|---|
| data/sources | `sources.SourceContract` |
| data/splits | `splits.SplitContract` |
| modalities, modalities/tokenizers | `modalities.ModalityContract`, `modalities.TokenizerContract` |
| models | `models.NetworkContract`, or `models.FitContract` for a model that is no network |
| tasks | `tasks.TaskContract` |
| adapt | `adapt.AdaptationContract` |
| evaluate | `metrics.MetricContract` |
| export, compress | `graphs.ExportContract`, `graphs.CompressContract` |
| predictors | `predictors.PredictorContract` |
| datasets | `datasets.DataSetContract` |
| stages | `stages.StageContract` |

All of them hold `plugin.PluginContract` too.
"""

from __future__ import annotations

import pkgutil

import pytest

# So that a broken contract shows both sides of the comparison, as in a test file.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
