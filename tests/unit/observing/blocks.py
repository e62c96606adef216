"""The blocks that are translated: our samples, and real ones of the newest PDM."""

from pathlib import Path

from ska_oso_activity import samples

OURS = {
    path.parent.name.split("-")[1]: path
    for path in (Path(samples.__file__).parent / "oda").rglob("*.json")
}
"""By telescope: mid, low."""
NEWEST = [
    "services-16.3.1_expected_mid_sbd.json",
    "services-16.3.1_mid_single_scan_with_constraints.json",
    "services-16.3.1_expected_low_sbd.json",
    "oet-8.0.0-rc.1_mid_sb_example.json",
    "oet-8.0.0-rc.1_low_sb_example.json",
]
"""Files among the shared data."""
