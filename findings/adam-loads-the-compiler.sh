#!/usr/bin/env bash
# To make an optimizer of torch.optim is enough to import torch's compiler: `Optimizer.add_param_group`, which `__init__`
# calls, is wrapped so that torch._dynamo leaves it alone, and the wrapper imports torch._dynamo at its first call, whether
# anything is ever compiled or not. Hundreds of modules come with it, on Linux triton as well, a hundred megabytes and more.
# The functional form, torch.optim.adam.adam, makes the same step without.
#
# Who trains a small network in a server pays for that at each start. The step itself is the same to the bit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.15.0 numpy==2.4.6
cd "$folder"

cat >common.py <<'EOF'
import sys, torch

def weights():
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    weight.grad = torch.tensor([[0.5, -1.0, 2.0], [0.0, 3.0, -0.25]])
    return weight

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))

def tell(name, before, modules, weight):
    print(f"{name}: {resident() - before} MB and {len(sys.modules) - modules} modules more")
    print("  torch._dynamo imported:", "torch._dynamo" in sys.modules)
    print("  weights:", weight.detach().flatten().tolist())
EOF
cat >instance.py <<'EOF'
from common import *
weight, before, modules = weights(), resident(), len(sys.modules)
torch.optim.Adam([weight], lr=0.1).step()
tell("torch.optim.Adam", before, modules, weight)
EOF
cat >functional.py <<'EOF'
from common import *
from torch.optim.adam import adam
weight, before, modules = weights(), resident(), len(sys.modules)
with torch.no_grad():
    adam([weight], [weight.grad], [torch.zeros(2, 3)], [torch.zeros(2, 3)], [], [torch.tensor(0.0)],
         foreach=False, amsgrad=False, beta1=0.9, beta2=0.999, lr=0.1, weight_decay=0.0, eps=1e-8, maximize=False)
tell("torch.optim.adam.adam", before, modules, weight)
EOF

"$folder/venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
"$folder/venv/bin/python" instance.py 2>/dev/null | tee instance
"$folder/venv/bin/python" functional.py 2>/dev/null | tee functional

grep -q "torch._dynamo imported: True" instance
grep -q "torch._dynamo imported: False" functional
diff <(grep weights instance) <(grep weights functional)
megabytes() { sed -nE 's/.*: ([0-9]+) MB and ([0-9]+) modules more/\1 \2/p' "$1"; }
read -r much many < <(megabytes instance)
read -r little few < <(megabytes functional)
((much > 50 && many > 300 && little < 25 && few < 25))
echo "as described"
