# SPDX-License-Identifier: MIT
"""Makes tokens with independent libraries: PyJWT and cryptography, from Debian's python3-jwt. They are installed for
Debian's python3, which need not be the one that runs the tests. So this file is also a program for that python3: a
line of JSON in, a token out."""
import base64
import json
import re
import subprocess
import sys
import threading
import time

PYTHON = "/usr/bin/python3"


def encode(data):
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SigningKey:
    """A key of `parley key create --signing`."""
    library, lock = None, threading.Lock()

    def __init__(self, parley, tenant, *options):
        done = parley.run("key", "create", "--tenant", tenant, "--signing", *options)
        self.pem, self.said = done.stdout, done.stderr
        self.kid = re.search(r"signing key ([0-9a-f]{16}) ", done.stderr)[1]

    @classmethod
    def ask(cls, **order):
        """What the program below answers."""
        with SigningKey.lock:
            if SigningKey.library is None:
                SigningKey.library = subprocess.Popen([PYTHON, __file__], stdin=subprocess.PIPE,
                                                      stdout=subprocess.PIPE, text=True)
            SigningKey.library.stdin.write(json.dumps(order) + "\n")
            SigningKey.library.stdin.flush()
            return SigningKey.library.stdout.readline().strip()

    def token(self, headers=None, algorithm="EdDSA", key=None, **claims):
        """As a bot's server makes it. A claim that is None is left out."""
        claims = {"exp": int(time.time()) + 600, **claims}
        return self.ask(key=self.pem if key is None else key, algorithm=algorithm,
                        headers={"kid": self.kid, **(headers or {})},
                        claims={name: value for name, value in claims.items() if value is not None})

    def raw(self, header, payload):
        """A good signature over this text, which need not be JSON."""
        return self.ask(key=self.pem, text=encode(header.encode()) + "." + encode(payload.encode()))


def answer(order):
    """Imports here: the tests' own python3 may lack the libraries."""
    import jwt                                                                  # pylint: disable=import-error
    from cryptography.hazmat.primitives import serialization                    # pylint: disable=import-error
    from cryptography.hazmat.primitives.asymmetric import rsa                   # pylint: disable=import-error
    key = order["key"]
    if "text" in order:
        private = serialization.load_pem_private_key(key.encode(), None)
        return order["text"] + "." + encode(private.sign(order["text"].encode()))
    if order["algorithm"] == "public":
        public = serialization.load_pem_private_key(key.encode(), None).public_key()
        return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()
    if order["algorithm"] == "RS256":
        key = rsa.generate_private_key(65537, 2048)
    if order["algorithm"] == "HS256":
        key = bytes.fromhex(key)
    return jwt.encode(order["claims"], None if order["algorithm"] == "none" else key,
                      algorithm=order["algorithm"], headers=order["headers"])


if __name__ == "__main__":
    for line in sys.stdin:
        print(answer(json.loads(line)), flush=True)
