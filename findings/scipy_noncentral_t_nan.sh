#!/usr/bin/env bash
# scipy 1.17.1: the distribution function of the noncentral t is nan at many places far in its lower tail, where its value
# is about 0; right beside such a place it is right.
#
# A search for a sample size by the power of a two-sided t-test adds this value to the upper tail's, so the power of some
# sizes is nan. A bisection takes every comparison with nan for false and ends at a nonsensical size.
#
# Output seen:
#   58 degrees, noncentrality 10: 5.1e-30
#   58 degrees, noncentrality 10.5: nan
#   1003 degrees, noncentrality 12: 9.6e-38
#   1003 degrees, noncentrality 13.5: nan
#   stats.nct is the same: nan
#   share of a million drawn numbers: 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scipy==1.17.1 numpy==2.4.6
cd "$folder"
cat > show.py <<'PY'
import numpy
from scipy import special, stats

for degrees, shift in ((58, 10), (58, 10.5), (1003, 12), (1003, 13.5)):
    value = special.nctdtr(degrees, shift, -1.96)
    print(f"{degrees} degrees, noncentrality {shift}: {value:.1e}")
print(f"stats.nct is the same: {stats.nct.cdf(-1.96, 1003, 13.5)}")
random = numpy.random.default_rng(0)
drawn = (random.standard_normal(10**6) + 10.5) / numpy.sqrt(random.chisquare(58, 10**6) / 58)
print("share of a million drawn numbers:", float((drawn < -1.96).mean()))
PY
"$folder/venv/bin/python" show.py | tee seen
diff seen - <<'EXPECTED'
58 degrees, noncentrality 10: 5.1e-30
58 degrees, noncentrality 10.5: nan
1003 degrees, noncentrality 12: 9.6e-38
1003 degrees, noncentrality 13.5: nan
stats.nct is the same: nan
share of a million drawn numbers: 0.0
EXPECTED
