#!/usr/bin/env bash
# hydra-core 1.3.8 with omegaconf 2.3.1: listing the overrides that were typed resolves what stands in them.
#
# HydraConfig.get().overrides.task is a ListConfig of texts that is part of the composed config. Iterating over it resolves
# every "${...}" inside of these texts, so a program that records its command line with list() records other words than
# were typed, and one typed interpolation that cannot be resolved there makes the listing raise. OmegaConf.to_container
# gives the words as they were typed.
#
# Output seen:
#   name: 3 layers
#   list(overrides.task): ['name=3\\ layers']
#   OmegaConf.to_container(overrides.task): ['name=${layers}\\ layers']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hydra-core==1.3.8 omegaconf==2.3.1
cd "$folder"
mkdir conf
printf 'layers: 3\nname: x\n' > conf/config.yaml
cat > show.py <<'PY'
import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config):
    print("name:", config.name)
    typed = HydraConfig.get().overrides.task
    print("list(overrides.task):", list(typed))
    print("OmegaConf.to_container(overrides.task):", OmegaConf.to_container(typed))


main()
PY
"$folder/venv/bin/python" show.py 'name=${layers}\ layers' hydra.run.dir=. hydra.output_subdir=null hydra/job_logging=none | tee seen
diff seen - <<'EXPECTED'
name: 3 layers
list(overrides.task): ['name=3\\ layers']
OmegaConf.to_container(overrides.task): ['name=${layers}\\ layers']
EXPECTED
