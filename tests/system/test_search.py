# SPDX-License-Identifier: MIT
"""GET /v1/search: what is found, where matches are marked, filters, pages, and what is not found any more."""
import collections
import json
import re
import signal
import subprocess
import time
import uuid
from urllib.parse import urlencode

from harness import HeldTransaction, Workers, at_once, message, metrics, say, wait_until
from search_words import CONVERSATIONS, FOUND, NO_WORD
from stack import StackTest
from test_conversations import conversations

TEXT_PARTS = ("text", "input_text", "output_text")


def text_of(content):
    """The text of a message's content, as the documentation alone defines it."""
    if isinstance(content, list):
        parts = [part if isinstance(part, str) else part.get("text") for part in content
                 if isinstance(part, str) or (isinstance(part, dict) and part.get("type") in TEXT_PARTS)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    return re.sub("[\0\ud800-\udfff]", "\ufffd", content)[:65536] if isinstance(content, str) else ""


class SearchTest(StackTest):
    """A stack with an index."""
    env = {"PARLEY_SEARCH": "on", "PARLEY_SWEEP": "0"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.parley.do("search", "build")

    def indexed(self, seconds=30):
        """Waits until all that was written is indexed."""
        wait_until(lambda: self.stack.psql("SELECT count(*) FROM search_queue") == "0", seconds, "an empty queue")

    def search(self, q, status=200, headers=None, **more):
        return self.get("/v1/search?" + urlencode({"q": q, **more}), status, headers=headers)

    def hits(self, q, **more):
        """(session, seq) of each hit, in order."""
        return [(h["session_id"], h["seq"]) for h in self.search(q, **{"limit": 100, **more})["data"]]

    def pages(self, q, limit, between=None, **more):
        """All hits, page by page. between: called after each page."""
        found, cursor = [], {}
        while True:
            page = self.search(q, limit=limit, **more, **cursor)
            found += [(h["session_id"], h["seq"]) for h in page["data"]]
            self.assertEqual(page["has_more"], page["next_cursor"] is not None)
            if not page["has_more"]:
                return found
            self.assertLessEqual(len(page["data"]), limit)
            cursor = {"cursor": page["next_cursor"]}
            if between:
                between()

    def make(self, *texts, **body):
        """A session with these messages; its id."""
        name = f"s-{uuid.uuid4().hex}"
        self.put(f"/v1/sessions/{name}", {"messages": [t if isinstance(t, dict) else message(t) for t in texts], **body},
                 status=201)
        return name

    def word(self):
        """A word that no message has."""
        return "w" + uuid.uuid4().hex


class Found(SearchTest):
    """Conversations in many languages, and a table of searches."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        client = cls.stack.client()
        for name, contents in CONVERSATIONS.items():
            texts = [c if isinstance(c, bytes) else json.dumps(c, ensure_ascii=bool(i % 2)).encode()
                     for i, c in enumerate(contents)]
            language = name if name not in ("escapes", "parts") else "x"
            body = b'{"language":"%s","messages":[%s]}' % (
                language.encode(), b",".join(b'{"role":"user","content":%s}' % text for text in texts))
            answer = client.put(f"/v1/sessions/{name}", body, headers={"Content-Type": "application/json"})
            assert answer.status == 201, answer
        wait_until(lambda: cls.stack.psql("SELECT count(*) FROM search_queue") == "0", 20, "an empty queue")
        cls.texts = {(name, i + 1): text_of(json.loads(c) if isinstance(c, bytes) else c)
                     for name, contents in CONVERSATIONS.items() for i, c in enumerate(contents)}

    def look(self, q, **more):
        """What a search finds in CONVERSATIONS, in the form of FOUND. Checks snippets, too."""
        found = []
        for hit in self.search(q, limit=100, **more)["data"]:
            if hit["session_id"] not in CONVERSATIONS:
                continue    # of another test
            text, snippet = self.texts[hit["session_id"], hit["seq"]], hit["snippet"]
            found.append((hit["session_id"], hit["seq"], [text[a:b] for a, b in hit["matches"]]))
            self.assertIn(snippet["text"], re.sub("[\1\2\3]", " ", text))
            self.assertEqual([snippet["text"][a:b] for a, b in snippet["matches"]], found[-1][2][:len(snippet["matches"])])
            self.assertTrue(snippet["matches"], (q, hit))
        return sorted(found)

    def test_table(self):
        """Fails if all words are `simple`, if Chinese characters are not split, if matches count bytes or mark each character,
        if parts are joined by a space, or if an escape counts as another number of characters: tried."""
        for q, expected in FOUND:
            for sort in ("relevance", "newest"):
                with self.subTest(q, sort=sort):
                    self.assertEqual(self.look(q, sort=sort), sorted(expected))

    def test_no_word(self):
        for q in NO_WORD:
            with self.subTest(q):
                problem = self.search(q, status=400)
                self.assertEqual((problem["code"], problem["field"]), ("invalid_parameter", "q"))

    def test_long_texts(self):
        """Snippets of long texts with a match at the end, or with many matches. Words beyond 65,536 characters are not found,
        and an answer has at most 100 matches. Fails if a snippet begins elsewhere than its matches say, or if ts_headline
        makes the parts: tried."""
        word, late = self.word(), self.word()
        svg = "<path d='" + "M 0 0 " * 500 + "'>"
        filler = "lorem ipsum \U0001f600 北京 " * 5000
        texts = [filler[:30000] + word, f"{word} " * 500, filler[:65536 - len(word) - 1] + " " + word, filler[:65536] + " " + late,
                 "x" * 5000 + " " + word + " " + "y" * 5000, f"{word}\n\n{'z' * 300}", "\U0001f600" * 1000 + word, "-" * 3000 + "\n" + svg + "https://example.com/" + "A" * 3000 + f" 北京 {word}"]
        name = self.make(*texts)
        self.indexed()
        found = {h["seq"]: h for h in self.search(word, limit=100)["data"]}
        self.assertEqual(sorted(found), [1, 2, 3, 5, 6, 7, 8])
        for seq, hit in found.items():
            text, snippet = texts[seq - 1], hit["snippet"]
            self.assertEqual({text[a:b] for a, b in hit["matches"]}, {word}, seq)
            self.assertEqual(len(hit["matches"]), min(text.count(word), 100))
            self.assertIn(snippet["text"], text)
            self.assertLessEqual(len(snippet["text"]), 200)
            self.assertEqual({snippet["text"][a:b] for a, b in snippet["matches"]}, {word}, seq)
        self.assertEqual(self.hits(late), [])
        self.assertEqual(self.hits(word, session_id=name, sort="newest")[0], (name, 8))

    def test_language_changed_later(self):
        """Fails if no trigger queues a session whose language changes: tried."""
        word = self.word()
        name = self.make(f"{word} die Häuser", language="en")
        self.indexed()
        self.assertEqual(self.hits(f"{word} haus"), [])
        self.patch(f"/v1/sessions/{name}", {"language": "de"})
        self.indexed()
        self.assertEqual(self.hits(f"{word} haus"), [(name, 1)])
        self.patch(f"/v1/sessions/{name}", {"language": "tlh"})
        self.assertEqual(self.hits(f"{word} haus"), [])     # at once
        self.indexed()
        self.assertEqual((self.hits(f"{word} haus"), self.hits(f"{word} häuser")), ([], [(name, 1)]))


class TakesLong(SearchTest):
    """A short time limit for statements."""
    env = {**SearchTest.env, "PARLEY_STATEMENT_MS": "2500"}

    def test_texts_that_take_long(self):
        """Texts for which PostgreSQL's parser takes quadratic time, and a session with many long texts, do not stop the indexer.
        Fails if a run without a space, or the beginning of a comment, stays whole; if a step takes 64 messages whatever their
        size; or if a page that took a second leaves out the row at which it ended: tried."""
        word, other = self.word(), self.word()
        runs = ["a_", "~/", "/.", "<!--", "a.b/", "a-", "a@", "&#1", "<a \"", "http://", "1e", "\U00010330-", "\U0001f600", " - ",
                "\u023a"]   # lower() makes it longer: as one word of 2,000 bytes it crashed PostgreSQL
        name = self.make(*(f"{word} {(run * 65536)[:65000]}" for run in runs))
        han = "".join(chr(0x20000 + i % 42000) for i in range(65000))
        many = self.make()
        for _ in range(7):
            self.post(f"/v1/sessions/{many}/messages", {"messages": [message(f"{word} {han}")] * 3}, status=201)
        self.patch(f"/v1/sessions/{many}", {"language": "x"})   # all in one row of the queue
        after = self.make(other)
        self.indexed(90)
        self.assertEqual(self.hits(other), [(after, 1)])
        self.assertEqual(sorted(self.pages(word, 5, session_id=name)), [(name, i + 1) for i in range(len(runs))])
        self.assertEqual(len(set(self.pages(word, 5, session_id=many, sort="newest"))), 21)


class Real(SearchTest):
    """The data of PARLEY_TEST_DATA, or made-up conversations."""

    def test_real_conversations(self):
        """A search finds the messages that a comparison with each message finds. Fails if some messages are not indexed: tried."""
        data = conversations()
        ids = {}
        for i, c in enumerate(data):
            name = self.make(*({k: m[k] for k in ("role", "content")} for m in c["messages"]), language=c["language"],
                             user_id=c["user_id"])
            ids[name] = i
        self.indexed(120)
        for q in ("北京", "故宫", "人均消费", "地铁", "酒店 价格", "Shakespeare", "guitar", "\"new york\"", "7-Eleven", "1984", "Grüße"):
            words = re.findall(r'"[^"]*"|\S+', q)
            english = [re.compile(r"(?<![\w'’])%s(?![\w-])" % re.escape(w.strip('"')), re.I) for w in words]
            expected = {(name, k + 1) for name, i in ids.items() for k, m in enumerate(data[i]["messages"])
                        if all(w.search(m["content"]) or (not w.pattern.isascii() and t in m["content"])
                               for w, t in zip(english, words))}
            found = {hit for hit in self.pages(q, 100, sort="newest") if hit[0] in ids}
            with self.subTest(q, expected=len(expected), found=len(found)):
                self.assertLessEqual(expected, found, q)
                if not q.isascii():
                    self.assertEqual(expected, found, q)
        say(f"{len(data)} conversations, {sum(len(c['messages']) for c in data)} messages")


class Filters(SearchTest):
    """Filters, orders and pages."""

    def test_filters(self):
        """Fails if a filter is left out of both the tags of the query and the comparison of a hit: tried."""
        word = self.word()
        a = self.make(message(word), message(word, role="assistant"), user_id="ann")
        b = self.make(message(word), message(word, role="ann"), user_id="ann b")
        c = self.make(message(word, role="ann"))
        between = self.get(f"/v1/sessions/{b}/messages")["data"][0]["created_at"]
        self.indexed()
        everything = [(c, 1), (b, 2), (b, 1), (a, 2), (a, 1)]
        for filters, found in (
                ({}, everything), ({"user_id": "ann"}, [(a, 2), (a, 1)]), ({"user_id": "ann b"}, [(b, 2), (b, 1)]),
                ({"user_id": "nobody"}, []), ({"session_id": c}, [(c, 1)]), ({"session_id": "none"}, []),
                ({"role": "user"}, [(b, 1), (a, 1)]), ({"role": "ann"}, [(c, 1), (b, 2)]), ({"role": "none"}, []),
                ({"role": "assistant", "user_id": "ann", "session_id": a}, [(a, 2)]), ({"session_id": b, "user_id": "ann"}, []),
                ({"created_after": between}, [(c, 1)]), ({"created_after": "2001-01-01T00:00:00Z"}, everything),
                ({"created_after": "2091-01-01T00:00:00Z"}, [])):
            with self.subTest(**filters):
                self.assertEqual(self.hits(word, sort="newest", **filters), found)
                self.assertEqual(sorted(self.hits(word, **filters)), sorted(found))
        for user, found in (("ann", [(a, 2), (a, 1)]), ("ann b", [(b, 2), (b, 1)]), ("nobody", [])):
            self.assertEqual(self.hits(word, sort="newest", headers={"X-Parley-User": user}), found)
            self.assertEqual(self.hits(word, sort="newest", headers={"X-Parley-User": user}, session_id=c), [])

    def test_pages(self):
        """Pages of every limit have together what one page has, in both orders. Fails if a cursor lacks a part of the position: tried."""
        word = self.word()
        for _ in range(3):
            self.make(*(" ".join([word] * (i % 4 + 1) + ["other"] * (i % 3)) for i in range(9)))
        self.indexed()
        for sort in ("relevance", "newest"):
            whole = self.hits(word, sort=sort)
            self.assertEqual(len(set(whole)), 27)
            for limit in (*range(1, 29), 100):
                self.assertEqual(self.pages(word, limit, sort=sort), whole, (sort, limit))
        best = self.make(f"{word} or {word}", f"once {word} among " + "many other words " * 20)
        self.indexed()
        self.assertEqual([(name == best, seq) for name, seq in self.hits(word) if name == best or seq == 1][0], (True, 1))
        self.assertEqual(self.hits(word)[-1], (best, 2))

    def test_pages_while_others_write(self):
        """Each earlier hit that stays is found exactly once while messages in new languages are written, and others are edited
        or deleted. Fails if a row is ranked by the languages of all sessions: tried."""
        for sort in ("relevance", "newest"):
            word, languages = self.word(), iter("de fr es it nl sv da fi pt ro hu ru tr ar hi".split() * 3)
            names = [self.make(*([f"{word} runner houses"] * 5 + ["nothing"] * 2)) for _ in range(4)]
            self.indexed()
            before, doomed = self.hits(f"{word} runner", sort=sort), [(names[0], 2), (names[3], 4)]
            self.assertEqual(len(before), 20)

            def disturb():
                self.make(f"{word} {word} runner", language=next(languages))
                self.post(f"/v1/sessions/{names[1]}/messages", message(f"{word} runners"), status=201)
                self.patch(f"/v1/sessions/{names[2]}/messages/6", {"content": "still nothing"})
                if doomed:
                    name, seq = doomed.pop()
                    if seq == 4:
                        self.delete(f"/v1/sessions/{name}/messages/{seq}", status=204)
                    else:
                        self.patch(f"/v1/sessions/{name}/messages/{seq}", {"content": "edited away"})
                self.indexed()
            found = collections.Counter(self.pages(f"{word} runner", 3, disturb, sort=sort))
            self.assertEqual([hit for hit in before if found[hit] != 1 and hit not in ((names[0], 2), (names[3], 4))], [], sort)
            self.assertEqual([hit for hit, n in found.items() if n > 1], [], sort)

    def test_a_cursor_is_of_its_query(self):
        """Fails if a part of the query is not in the cursor's checksum: tried."""
        word = self.word()
        name = self.make(word, word, word, user_id="u")
        self.indexed()
        query = {"user_id": "u", "session_id": name, "role": "user", "created_after": "2001-01-01T00:00:00Z"}
        cursor = self.search(word, limit=1, **query)["next_cursor"]
        self.assertEqual(len(self.search(word, cursor=cursor, **query)["data"]), 2)
        others = [{**query, "sort": "newest"}, {**query, "user_id": "v"}, {**query, "session_id": "t"}, {**query, "role": "x"},
                  {**query, "created_after": "2001-01-01T00:00:01Z"}] + [
                      {k: v for k, v in query.items() if k != left_out} for left_out in query]
        for other in others:
            with self.subTest(**other):
                self.assertEqual(self.search(word, status=400, cursor=cursor, **other)["field"], "cursor")
        for q, given in ((word + " x", cursor), (word.upper(), cursor), (word, cursor[:-1]), (word, "x"), (word, "")):
            self.assertEqual(self.search(q, status=400, cursor=given, **query)["field"], "cursor", given)


class Gone(SearchTest):
    """What is not found from the commit on: each check follows the answer of the write at once. One test for each
    condition of a hit. Fails if parley_search does not check the message as it is: tests/mutants/search-unchecked."""

    def setUp(self):
        super().setUp()
        self.w = self.word()
        self.texts = [f"{self.w} one", f"{self.w} two", f"{self.w} three"]
        self.user = self.word()
        self.name = self.make(*self.texts, user_id=self.user)
        self.path = f"/v1/sessions/{self.name}"
        self.indexed()
        self.assertEqual(self.found(), [1, 2, 3])

    def found(self, **more):
        return sorted(seq for name, seq in self.hits(self.w, **more) if name == self.name)

    def words_gone(self, least=0):
        """Waits until the words are removed from the index, too."""
        wait_until(lambda: self.stack.psql("SELECT count(*) FROM search_words WHERE words @@ "
                                           f"'{self.w}'::tsquery") == str(least), 10, "the words are gone")

    def test_deleted_message(self):
        self.delete(self.path + "/messages/2", status=204)
        self.assertEqual(self.found(), [1, 3])
        self.words_gone(2)

    def test_truncated(self):
        self.delete(self.path + "/messages?after=1")
        self.assertEqual(self.found(), [1])
        self.words_gone(1)

    def test_edited(self):
        self.patch(self.path + "/messages/2", {"content": "something else"})
        self.assertEqual(self.found(), [1, 3])
        self.assertEqual(self.hits(f"{self.w} two"), [])
        self.patch(self.path + "/messages/1", {"content": f"{self.w} moved"})
        self.assertEqual((self.found(), self.hits(f"{self.w} one")), ([1, 3], []))
        self.indexed()
        self.assertEqual(self.hits(f"{self.w} moved"), [(self.name, 1)])
        self.words_gone(2)

    def test_session_deleted(self):
        """Its words stay until the sweeper removes its messages."""
        self.delete(self.path, status=204)
        self.assertEqual(self.found(), [])
        self.put(self.path, {"messages": [message("made again")]}, status=201)
        self.assertEqual(self.found(), [])

    def test_expired(self):
        """The sweeper is off, so the words stay in the index."""
        self.patch(self.path, {"ttl_seconds": 1})
        end = time.monotonic() + 10
        while self.client.get(self.path).status != 404:
            self.assertLess(time.monotonic(), end)
        self.assertEqual(self.found(), [])

    def test_user_erased(self):
        self.delete(f"/v1/users/{self.user}")
        self.assertEqual((self.found(), self.found(user_id=self.user)), ([], []))
        self.words_gone()

    def test_user_changed(self):
        other = self.word()
        self.patch(self.path, {"user_id": other})
        self.assertEqual((self.found(user_id=self.user), self.found(headers={"X-Parley-User": self.user})), ([], []))
        self.assertEqual(self.found(), [1, 2, 3])
        self.indexed()
        self.assertEqual((self.found(user_id=other), self.found(user_id=self.user)), ([1, 2, 3], []))

    def test_fork(self):
        """Fails if no trigger queues copies: tried."""
        fork = self.post(self.path + "/fork", {"last_seq": 2}, status=201)["session_id"]
        self.indexed()
        self.assertEqual(sorted(self.hits(self.w, session_id=fork)), [(fork, 1), (fork, 2)])
        self.delete(self.path, status=204)
        self.assertEqual(sorted(self.hits(self.w)), [(fork, 1), (fork, 2)])
        self.delete(f"/v1/sessions/{fork}", status=204)
        self.assertEqual(self.hits(self.w), [])


class Queue(SearchTest):
    """What the metrics say of the queue."""

    def measured(self):
        """How many messages wait, and how long the first of them has waited."""
        m = metrics(self.client)
        return m["parley_search_waiting"], m["parley_search_oldest_seconds"]

    def test_queue(self):
        """Nobody indexes for a while. Fails if ranges are counted and not messages, if those that the build queued are, if
        two workers count twice, or if the queue is measured only after a step that has succeeded: tried."""
        self.indexed()
        with HeldTransaction(self.stack, "SELECT pg_advisory_xact_lock(1349676629, 0)"):
            self.stack.psql("INSERT INTO search_queue (build, tenant, generation, first_seq, last_seq)"
                            " VALUES (true, 'default', 1, 1, 1000)")
            self.make("a", "b", "c")
            self.post(f"/v1/sessions/{self.make('d')}/messages", message("e"), 201)
            wait_until(lambda: self.measured()[0] == 5, 20, "the messages in the metrics")
            wait_until(lambda: self.measured()[1] >= 3, 20, "the time in the metrics")
            self.assertLess(self.measured()[1], 60)
        wait_until(lambda: self.measured() == (0, 0), 20, "an empty queue in the metrics")
        self.stack.psql("ALTER FUNCTION parley_search_step RENAME TO gone")     # each step fails
        self.make("f", "g")
        wait_until(lambda: self.measured()[0] == 2, 20, "what came since")


class Build(StackTest):
    """The index is built while hosts serve."""
    env = {"PARLEY_SEARCH": "on", "PARLEY_SWEEP": "0"}
    hits, search, indexed, pages = SearchTest.hits, SearchTest.search, SearchTest.indexed, SearchTest.pages

    def setUp(self):
        super().setUp()
        if not hasattr(self.stack, "filled"):
            self.stack.filled = True
            words = "alpha beta gamma delta epsilon".split()

            def fill(i):
                client = self.stack.client()
                for k in range(i, 400, 4):
                    sent = [message(f"{words[(k + n) % 5]} {words[k % 4]} number{n}") for n in range(k % 7 * 20)]
                    assert client.put(f"/v1/sessions/old-{k}", {"messages": sent, "user_id": f"u{k % 3}"}).status == 201
            at_once(4, fill)

    def compare(self):
        """search_words has exactly one row for each message with text, and searches find them."""
        wanted, of = collections.Counter(), collections.defaultdict(set)
        for line in self.stack.psql("SELECT m.generation, m.seq, s.session_id, m.content FROM messages m JOIN sessions s"
                                    " USING (tenant, generation) WHERE s.expires_at > now()").splitlines():
            generation, seq, name, content = line.split("\t", 3)
            text = text_of(json.loads(content))
            if text:
                wanted[generation, seq] += 1
            for word in set(text.split()):
                of[word].add((name, int(seq)))
        there = collections.Counter(tuple(line.split("\t")) for line in self.stack.psql(
            "SELECT generation, seq FROM search_words").splitlines())
        self.assertEqual((list((wanted - there).items())[:5], list((there - wanted).items())[:5]), ([], []))
        for word in ("alpha", "delta", "number19"):
            found = self.pages(word, 100, sort="newest")
            self.assertEqual(len(found), len(set(found)))
            self.assertEqual(set(found), of[word], word)
        return len(wanted)

    def writes(self):
        """Clients that append, edit, delete and make sessions."""
        def step(i):
            client, name = self.stack.client(), f"new-{uuid.uuid4().hex}"
            sent = [message(f"alpha {n}") for n in range(4)]
            self.assertEqual(client.put(f"/v1/sessions/{name}", {"messages": sent}).status, 201)
            old = f"/v1/sessions/old-{uuid.uuid4().int % 400}"
            for method, path, body in (("POST", old + "/messages", message("delta number19")),
                                       ("PATCH", old + "/messages/3", {"content": "alpha edited"}),
                                       ("DELETE", f"/v1/sessions/{name}/messages/2", None),
                                       ("DELETE", f"/v1/sessions/{name}/messages?after=3", None)):
                self.assertIn(client.request(method, path, body).status, (200, 201, 204, 404), path)
            time.sleep(0.02)
        return Workers(3, step)

    def start_build(self):
        """`parley search build` in the background."""
        parley = self.stack.parley
        process = subprocess.Popen([parley.program, "search", "build"], env=parley.environment(), text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        return process

    def drop(self):
        self.stack.parley.do("search", "drop")
        problem = self.search("alpha", status=404)
        self.assertEqual(problem["code"], "search_off")
        for table in ("search_words", "search_queue", "search_configs", "search_state"):
            self.assertEqual(self.stack.psql(f"SELECT count(*) FROM {table}"), "0")

    def test_beside_writes_and_killed(self):
        """A build that is killed continues when it is run again. Fails if a trigger is missing, or if a build does not
        continue after one that only made the triggers: tried."""
        self.drop()
        with self.writes():
            for pause in (0.01, 0.03, 0.06, 0.1, 0.2, 0.3):
                process = self.start_build()
                time.sleep(pause)
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.3)
            self.stack.parley.do("search", "build")
            self.assertTrue(self.search("alpha")["complete"])
        self.indexed()
        say(f"{self.compare()} messages are indexed")

    def test_two_at_once(self):
        """Fails if parley_search_on does not lock search_state: tried."""
        for _ in range(6):
            self.drop()
            with HeldTransaction(self.stack, "LOCK TABLE sessions IN ACCESS SHARE MODE"):
                builds = [self.start_build() for _ in range(3)]
                time.sleep(0.3)     # all wait for it
            for process in builds:
                said = process.communicate()[0]
                self.assertEqual(process.returncode, 0, said)
        self.indexed()
        self.compare()

    def test_complete(self):
        """complete is false until all earlier messages are indexed. Fails if it is true once the build has queued them: tried."""
        self.drop()
        held = self.stack.postgres.open_psql("BEGIN; SELECT pg_advisory_xact_lock(1349676629, 0);\n\\echo held\n")
        while held.stdout.readline().strip() != "held":
            pass
        process = self.start_build()
        wait_until(lambda: self.stack.psql("SELECT queued FROM search_state") == "t", 10, "queued")
        self.assertEqual((self.search("alpha")["data"], self.search("alpha")["complete"]), ([], False))
        held.communicate()
        self.assertEqual(process.wait(), 0)
        self.assertTrue(self.search("alpha")["complete"])
        self.compare()

    def test_as_the_serving_login(self):
        """The command fails with a clear message, and changes nothing."""
        parley = self.stack.parley
        for command in ("build", "drop"):
            done = parley.run("search", command, DATABASE_ADMIN_URL=parley.env["DATABASE_URL"])
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stdout + done.stderr, "DATABASE_ADMIN_URL must name the login that owns")
