# SPDX-License-Identifier: MIT
"""Signed tokens: what is refused, and why; who ends them."""
import json
import time

from stack import wait_until
from test_keys import KeysTest, bearer, shown
from tokens import SigningKey, encode

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class TokensTest(KeysTest):
    """Signing keys of two tenants, and a session of ann."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mine = SigningKey(cls.stack.parley, "acme")
        cls.theirs = SigningKey(cls.stack.parley, "other")
        made = cls.stack.client(headers=bearer(cls.key)).put("/v1/sessions/a", {"user_id": "ann"})
        assert made.status == 201, made

    def ask(self, token, path="/v1/sessions/a"):
        return self.client.get(path, headers=bearer(token))


class Forged(TokensTest):
    """Tokens without a good signature of a live key."""

    def test_one_answer(self):
        """All are refused in the same bytes, and a good one is not. Fails if alg or the signature is not checked, if
        crit is ignored, or if the base64url is read loosely: tried."""
        mine, theirs, good = self.mine, self.theirs, self.mine.token(sub="ann")
        header, payload, signature = good.split(".")
        plain = json.dumps({"alg": "EdDSA", "kid": mine.kid})
        claims = {"sub": "ann", "exp": int(time.time()) + 600}
        public = mine.ask(key=mine.pem, algorithm="public")
        gone, brief = SigningKey(self.stack.parley, "acme"), SigningKey(self.stack.parley, "acme", "--expires", "1s")
        tokens_before = [k.token(sub="ann") for k in (gone, brief)]
        self.stack.parley.do("key", "revoke", gone.kid)
        forged = {
            "none": mine.token(sub="ann", algorithm="none"),
            "none, with a signature": encode(plain.replace("EdDSA", "none").encode()) + f".{payload}.{signature}",
            "HS256 with the public key": mine.token(sub="ann", algorithm="HS256", key=public),
            "RS256": mine.token(sub="ann", algorithm="RS256"),
            "signed by another tenant's key": theirs.token(sub="ann", headers={"kid": mine.kid}),
            "another tenant's kid": mine.token(sub="ann", headers={"kid": theirs.kid}),
            "an unknown kid": mine.token(sub="ann", headers={"kid": "0" * 16}),
            "the id of a bearer key": mine.token(sub="ann", headers={"kid": self.key[7:23]}),
            "a kid in capitals": mine.token(sub="ann", headers={"kid": mine.kid.upper() + "A"}),
            "no kid": mine.raw('{"alg":"EdDSA"}', json.dumps(claims)),
            "no alg": mine.raw(json.dumps({"kid": mine.kid}), json.dumps(claims)),
            "alg twice": mine.raw(plain[:-1] + ',"alg":"EdDSA"}', json.dumps(claims)),
            "crit": mine.token(sub="ann", headers={"crit": ["exp"]}),
            "a header that is no JSON": mine.raw("x" + plain, json.dumps(claims)),
            "another header": encode((plain[:-1] + ',"typ":"x"}').encode()) + f".{payload}.{signature}",
            "a shorter signature": good[:-1], "no signature": f"{header}.{payload}.", "two parts": f"{header}.{payload}",
            "four parts": good + ".", "padding": good + "==", "huge": mine.token(sub="ann", x="y" * 1600),
            "in plus and slash": f"{header}.{payload}." + "+/" + signature[2:], "revoked": tokens_before[0],
            "a blank in it": f"{header}. {payload}.{signature}", "the private key": mine.pem.replace("\n", "")}
        for bit in (1, 2, 4, 8):
            forged[f"trailing bit {bit}"] = good[:-1] + ALPHABET[ALPHABET.index(good[-1]) ^ bit]
        for name, value in {"sub": "bob", "exp": claims["exp"] + 1, "scope": "write", "sid": "a", "nbf": 0}.items():
            forged[f"{name} changed"] = f"{header}." + encode(json.dumps({**claims, name: value}).encode()) + "." + signature
        self.assertEqual(self.ask(good).status, 200)
        wait_until(lambda: self.ask(tokens_before[1]).status == 401, 10, "the key expires")
        forged["expired"] = tokens_before[1]
        wrong = shown(self.client.get("/v1/sessions/a", headers={**bearer(self.key[:-1]), "X-Request-Id": "x"}))
        for name, token in forged.items():
            with self.subTest(token=name):
                answer = self.client.get("/v1/sessions/a", headers={**bearer(token), "X-Request-Id": "x"})
                self.problem(answer, 401, "invalid_api_key")
                self.assertEqual(shown(answer), wrong)

    def test_the_database_holds_no_secret(self):
        """Of a signing key it has the public key. Fails if the private one is stored: tried."""
        stored = self.stack.psql(f"SELECT encode(hash, 'hex') FROM api_keys WHERE id = '{self.mine.kid}'")
        self.assertEqual(stored, self.mine.ask(key=self.mine.pem, algorithm="public"))


class Claims(TokensTest):
    """Tokens with a good signature."""

    def test_each_claim(self):
        """The 401 names the claim. Fails if one of the checks is left out: tried."""
        now = int(time.time())
        cases = [({"exp": None}, "exp"), ({"exp": now - 1}, "exp"), ({"exp": now + 25 * 3600}, "exp"),
                 ({"exp": str(now + 60)}, "exp"), ({"exp": 10 ** 30}, "exp"), ({"nbf": now + 600}, "nbf"),
                 ({"nbf": True}, "nbf"), ({"aud": "parley"}, "aud"), ({"aud": []}, "aud"), ({"scope": "admin"}, "scope"),
                 ({"scope": ["read"]}, "scope"), ({"sub": 7}, "sub"), ({"sub": ""}, "sub"), ({"sub": " ann"}, "sub"),
                 ({"sub": "a" * 257}, "sub"), ({"sub": ["ann"]}, "sub"), ({"sid": 7}, "sid"), ({"sid": ""}, "sid"),
                 ({"sid": "a/../b"}, "sid"), ({"sub": None}, "sub")]
        for claims, field in cases:
            with self.subTest(claims=claims):
                answer = self.ask(self.mine.token(**{"sub": "ann", **claims}))
                self.assertEqual(self.problem(answer, 401, "invalid_token")["field"], field)
        for payload in ('{"sub":"ann","sub":"ann","exp":%d}', '[%d]', '{"sub":"ann","exp":%d', '%d', '{"sub":"\xff","exp":%d}x'):
            token = self.mine.raw(json.dumps({"alg": "EdDSA", "kid": self.mine.kid}), payload % (now + 60))
            self.problem(self.ask(token), 401, "invalid_token")
        for claims in ({}, {"exp": now + 24 * 3600}, {"exp": now + 60.5}, {"nbf": now, "iat": now, "iss": "bot", "jti": "1"},
                       {"scope": "read"}, {"scope": "write"}, {"sid": "a"}, {"sid": "a", "sub": None}):
            answer = self.ask(self.mine.token(**{"sub": "ann", **claims}))
            self.assertEqual(answer.status, 200, (claims, answer))

    def test_it_ends(self):
        """Fails if a token lives on after its exp: tried."""
        token = self.mine.token(sub="ann", exp=int(time.time()) + 3)
        self.assertEqual(self.ask(token).status, 200)
        wait_until(lambda: self.ask(token).status == 401, 10, "the token expires")
        self.assertEqual(self.ask(token).json["field"], "exp")

    def test_no_more_than_its_key(self):
        """Fails if a token may do what its key may not: tried."""
        read, ann = (SigningKey(self.stack.parley, "acme", *options) for options in (("--scope", "read"), ("--user", "ann")))
        self.assertEqual(self.ask(read.token(sub="ann")).status, 200)
        refused = self.client.put("/v1/sessions/a", {}, headers=bearer(read.token(sub="ann")))
        self.problem(refused, 403, "read_only_key")
        self.assertEqual(self.problem(self.ask(read.token(sub="ann", scope="write")), 401, "invalid_token")["field"], "scope")
        self.assertEqual([self.ask(ann.token(sub=sub)).status for sub in (None, "ann", "bob")], [200, 200, 401])

    def test_the_headers_of_keys(self):
        """Fails if a token goes into one of the two headers alone."""
        token = self.mine.token(sub="ann")
        for headers in ({"X-Api-Key": token}, {"X-Api-Key": token, **bearer(token)}, {"Authorization": f"bearer  {token}"}):
            self.assertEqual(self.client.get("/v1/sessions/a", headers=headers).status, 200)
        other = self.mine.token(sub="ann", exp=int(time.time()) + 60)
        self.problem(self.client.get("/v1/sessions/a", headers={"X-Api-Key": token, **bearer(other)}), 401, "invalid_api_key")

    def test_the_last_use_of_a_signing_key(self):
        """Fails if only bearer keys are noted, or if a forged token counts: tried."""
        key = SigningKey(self.stack.parley, "acme")
        used = f"SELECT last_used_at IS NOT NULL FROM api_keys WHERE id = '{key.kid}'"
        self.assertEqual(self.ask(self.mine.token(sub="ann", headers={"kid": key.kid})).status, 401)
        time.sleep(1.5)
        self.assertEqual(self.stack.psql(used), "f")
        self.assertEqual(self.ask(key.token(sub="ann")).status, 200)
        wait_until(lambda: self.stack.psql(used) == "t", 10, "the use is written")

    def test_while_postgresql_is_away(self):
        """A token is accepted as long as its key is (PARLEY_KEYS_STALE). Fails if tokens are refused then, or if a wrong
        one gets a 401, as if it were known to be wrong: tried."""
        token, wrong = self.mine.token(sub="ann"), self.theirs.token(sub="ann", headers={"kid": self.mine.kid})
        self.assertEqual(self.ask(token).status, 200)
        self.stack.postgres.stop()
        try:
            wait_until(lambda: self.client.get("/readyz").status == 503, 10, "PostgreSQL is known to be away")
            time.sleep(1)
            answer = self.ask(token)
            self.assertEqual((answer.status, answer.headers["X-Parley-Degraded"]), (200, "database-away"), answer)
            self.assertEqual(self.ask(wrong).status, 503)
            self.assertEqual(self.ask(self.mine.token(sub="ann", exp=1)).json["field"], "exp")
        finally:
            self.stack.postgres.start()
            wait_until(lambda: self.client.get("/readyz").status == 200, 30, "PostgreSQL is back")


class SigningKeys(TokensTest):
    """parley key create --signing."""

    def test_what_it_prints(self):
        """The private key alone on standard output."""
        self.assertRegex(self.mine.pem, r"^-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/]{64}\n-----END PRIVATE KEY-----\n$")
        self.assertRegex(self.mine.said, r"(?m)^parley: signing key [0-9a-f]{16} for tenant acme, until it is revoked; it is shown "
                                         r"this once; its id is the kid of its tokens\n$")
        self.stack.parley.run("key", "create", "--tenant", "acme", "--signing", "--scope", "read", "--user", "zoë", "--name", "n")
        listed = self.stack.parley.do("key", "list")
        self.assertRegex(listed, r"(?m)^[0-9a-f]{16}  live +acme +signing +read +zoë +20\S+ +never +never +n$")
        (key,) = [k for k in json.loads(self.stack.parley.do("key", "list", "--json"))["keys"] if k["user_id"] == "zoë"]
        self.assertEqual((key["kind"], key["scope"]), ("signing", "read"))
        self.assertIn(None, [k["user_id"] for k in json.loads(self.stack.parley.do("key", "list", "--json"))["keys"]])

    def test_it_is_no_bearer_key(self):
        """A signing key is not a bearer key, and a bearer key does not sign. The public key is stored where a bearer key
        has its hash; even a secret with that hash is refused. Fails if either is not checked: tried."""
        key = self.stack.parley.make_key("acme")
        self.assertEqual(self.ask(key).status, 200)
        self.stack.psql(f"UPDATE api_keys SET signing = true WHERE id = '{key[7:23]}'")
        wait_until(lambda: self.ask(key).status == 401, 5, "the key is refused")
        token = SigningKey(self.stack.parley, "acme").token(sub="ann")
        self.assertEqual(self.ask(token).status, 200)
        self.stack.psql("UPDATE api_keys SET signing = false WHERE signing AND id <> '%s'" % self.mine.kid)
        wait_until(lambda: self.ask(token).status == 401, 5, "the token is refused")

    def test_nobody_widens_a_row(self):
        """A change of what the row says makes the key invalid. Fails if the hash leaves the restriction out: tried."""
        for options, change in ((("--scope", "read"), "scope = 'write'"), (("--user", "ann"), "user_id = NULL"),
                                (("--user", "ann"), "user_id = 'bob'"), ((), "scope = 'read'")):
            key = self.stack.parley.make_key("acme", *options)
            self.assertEqual(self.ask(key).status, 200)
            self.stack.psql(f"UPDATE api_keys SET {change} WHERE id = '{key[7:23]}'")
            wait_until(lambda k=key: self.ask(k).status == 401, 5, f"{change}: the key is refused")

    def test_wrong_options(self):
        before = self.stack.psql("SELECT count(*) FROM api_keys")
        for options in (("--scope", "admin"), ("--scope", ""), ("--user", ""), ("--user", " a"), ("--user", "a/../b"),
                        ("--user", "u" * 257), ("--user", "a\nb")):
            done = self.stack.parley.run("key", "create", "--tenant", "acme", *options)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done)
            self.assertRegex(done.stderr, rf"^parley: {options[0]} must be [^\n]+\n$")
        self.assertEqual(self.stack.psql("SELECT count(*) FROM api_keys"), before)
