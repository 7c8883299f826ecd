"""Samples for docs_examples.py: documents, and what it must say of each."""

import sys

HEAD = """
# A sample

```sh
export STRAIT=http://127.0.0.1:8080
export TOKEN=$(sed -n 's/^token = "\\(.*\\)"$/\\1/p' data/credentials.toml)
AUTH="X-Auth-Token: $TOKEN"
fetch() { curl -s -H "$AUTH" "$STRAIT$1"; }
```
"""

GOOD = """
```json
{"error_code": "not run: it is JSON"}
```

```sh
strait credentials list
fetch '/v5/iot/p/products?limit=5'
cd "$(mktemp -d ./sub.XXXX)"
MADE=$(curl -s -X POST "$STRAIT/v5/iot/p/products" -H "$AUTH" \\
  -H 'Content-Type: application/json' -d '
{"product_id": "sample", "name": "sample", "device_type": "x", "protocol_type": "CoAP",
 "data_format": "binary", "service_capabilities": []}')
```

<!-- not run: it would take a week -->
```sh
sleep 604800
```

```python
import os
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkiotda.v5 import *

client = (IoTDAClient.new_builder()
          .with_credentials(BasicCredentials("AK", "SK", "p"))
          .with_endpoint(os.environ["STRAIT"])
          .build())
client.preset_headers = {"X-Auth-Token": os.environ["TOKEN"], "Authorization": "none"}
```

```python
shown = client.show_product(ShowProductRequest(product_id="sample"))
assert shown.name in os.environ["MADE"]
print(shown.name)
```

<!-- shows an error -->
```sh
curl -si -H "$AUTH" "$STRAIT/v5/iot/p/products/nosuch"
```

```sh
case $PWD in */sub.????) ;; *) echo "not where the block before went: $PWD"; exit 1 ;; esac
case $MADE in *'"sample"'*) ;; *) exit 1 ;; esac
sleep 600 &
```
"""


def sh(text, mark=""):
    return f"{HEAD}\n{mark}\n```sh\n{text}\n```\n"


# Document, what must be among the complaints; None: there are none. How many blocks ran.
SAMPLES = [
    (HEAD + GOOD, None, 6),
    (sh("false\ntrue"), "exit code 1", 2),
    (sh("false | true"), "exit code 1", 2),
    (sh("curl -s http://127.0.0.1:1/"), "exit code 7", 2),
    (sh("fetch /v5/iot/p/products/nosuch"), "an error was answered", 2),
    (sh("fetch /v5/iot/p/products; fetch /v5/iot/p/products/x"), "an error was answered", 2),
    (sh("X=$(fetch /v5/iot/p/products/nosuch)"), "an error was answered", 2),
    (sh("fetch /healthz", "<!-- shows an error -->"), "no error was answered", 2),
    (sh("curl -s http://127.0.0.1:8080/healthz"), "127.0.0.1:8080 stands in it", 2),
    (sh("true", "<!-- not run -->"), "no such mark", 2),
    (HEAD + "\n<!-- not run: x -->\ntext\n", "a mark with no block behind it", 1),
    (HEAD + "\n```sh\ntrue\n", "a block without an end", 1),
    ("```sh\ntrue\n```\n", "takes one line `export STRAIT=", 1),
    (HEAD + "\n```python\nraise ValueError('seen')\n```\n", "ValueError: seen", 2),
    (HEAD + "\n```python\nimport sys\nsys.exit(3)\n```\n", "exit code 3", 2),
]


def check(run_document):
    """Runs each sample; ends the program at the first that is not judged as it should be."""
    for number, (document, want, blocks) in enumerate(SAMPLES, 1):
        failures, ran = run_document(f"sample-{number}", document, quiet=True)
        told = "\n".join(failures)
        fine = want in told if want else not failures
        if not fine or ran != blocks or (want and len(failures) != 1):
            sys.exit(
                f"docs: sample {number}: {ran} blocks ran, expected {blocks};"
                f" expected {want!r} among the complaints, got:\n{told}\nof\n{document}"
            )
    print(f"docs: {len(SAMPLES)} samples are judged as they should be")
