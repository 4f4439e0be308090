# SPDX-License-Identifier: MIT
"""Conversations, and what searches find in them. A content of type bytes is sent as it is, as JSON text."""

CONVERSATIONS = {
    "en": ["The cats were running through the gardens.", "Running a garden costs 49.90 dollars, not 4990.",
           "My cat's state-of-the-art camera: https://example.com/shop/camera?id=7 or foo@bar.example.",
           "I don't like dogs <b>at all</b> & \"never\" did: a < b > c.",
           "Party at 9 pm \U0001f600\U0001f389 on December 24th! \U0001f600cake", "A well-known well",
           "C++ and C# and .NET; snake_case_name; v2.0.1; 1.234,56"],
    "de": ["Die Häuser in Köln sind schöner als das Haus am Fluß.", "Straßenbahn und Strassenbahn; ÜBERMUT tut selten gut.",
           "Ich möchte einen Tisch für zwei Personen reservieren, bitte!"],
    "es": ["¿Dónde están los niños? Quiero comprar dos canciones.", "La canción del niño cuesta 3 euros."],
    "zh": ["我想去北京大学附近的餐馆吃烤鸭。", "大学在北京,京北不是北京。", "二〇二六年 iPhone手机 \U0001f600北京", "\U00020bb7野家好吃"],
    "ja": ["東京タワーに行きたいです。ラーメンが好き。", "ｶﾀｶﾅと人々の時々", "アイ・オー データ"],
    "ko": ["안녕하세요, 서울에서 부산까지 기차표를 예매하고 싶어요.", "서울 날씨는 어때요?"],
    "tlh": ["running cats tlhIngan Hol"],
    "en-GB": ["colours of a kingdom"],
    "escapes": [rb'"caf\u00e9 \u0000nul \ud83d\ude00 pair \ud800 high \udc00low \\u0041 \\\u0041pple \/slash tab\there"',
                rb'"\ud83d\ude00\ud83d \udbff\udfff end \ud800\u0041fter \u0001control\u0002\u0003 \\\\"',
                rb'"\u5317\u4eac \u201cquoted\u201d"'],
    "parts": [[{"type": "text", "text": "first part"}, {"type": "image_url", "image_url": {"url": "http://hidden.example"}},
               {"type": "input_text", "text": "second \U0001f600 part"}],
              [{"type": "output_text", "text": "output"}, {"type": "text", "text": "plain"}], [{"type": "tool", "text": "hidden"}],
              "", []],
}

# (q, what is found in these sessions: session, seq, and the texts of the matches).
FOUND = [
    # Stems of the language of the session.
    ("cat", [("en", 1, ["cats"]), ("en", 3, ["cat"])]),
    ("cats", [("en", 1, ["cats"]), ("en", 3, ["cat"]), ("tlh", 1, ["cats"])]),
    ("RUNNING", [("en", 1, ["running"]), ("en", 2, ["Running"]), ("tlh", 1, ["running"])]),
    ("colour", [("en-GB", 1, ["colours"])]),
    ("haus", [("de", 1, ["Häuser", "Haus"])]),
    ("HÄUSER", [("de", 1, ["Häuser", "Haus"])]),
    ("schön", [("de", 1, ["schöner"])]),
    ("tische reservieren", [("de", 3, ["Tisch", "reservieren"])]),
    ("niño", [("es", 1, ["niños"]), ("es", 2, ["niño"])]),
    ("canción", [("es", 1, ["canciones"]), ("es", 2, ["canción"])]),
    ("the", []),
    # Phrases, or, minus.
    ("\"cats were running\"", [("en", 1, ["cats", "running"])]),
    ("\"running cats\"", [("tlh", 1, ["running", "cats"])]),
    ("\"gardens running\"", []),
    ("haus or canción", [("de", 1, ["Häuser", "Haus"]), ("es", 1, ["canciones"]), ("es", 2, ["canción"])]),
    ("cat -camera", [("en", 1, ["cats"])]),
    ("garden -\"running through\" -costs", []),
    ("garden -costs", [("en", 1, ["gardens"])]),
    ("\"cat", [("en", 1, ["cats"]), ("en", 3, ["cat"])]),
    ("cat & ! ( ) : * ' \\ | camera", [("en", 3, ["cat", "camera"])]),
    # Digits, addresses, words with hyphens, tags.
    ("49.90", [("en", 2, ["49.90"])]), ("4990", [("en", 2, ["4990"])]), ("24th", [("en", 5, ["24th"])]),
    ("v2.0.1", [("en", 7, ["v2.0.1"])]),
    ("example.com", [("en", 3, ["example.com"])]),
    ("foo@bar.example", [("en", 3, ["foo@bar.example"])]),
    ("\"https://example.com/shop/camera?id=7\"", [("en", 3, ["example.com", "/shop/camera?id=7"])]),
    ("state-of-the-art", [("en", 3, ["state", "art"])]),
    ("art", [("en", 3, ["art"])]),
    ("well-known", [("en", 6, ["well", "known", "well"])]),
    ("snake", [("en", 7, ["snake"])]),
    ("never b", [("en", 4, ["b", "never", "b"])]),
    ("dogs", [("en", 4, ["dogs"])]), ("<b>", [("en", 4, ["b", "b"])]),
    # Case and umlauts.
    ("köln", [("de", 1, ["Köln"])]), ("KÖLN", [("de", 1, ["Köln"])]), ("fluss", [("de", 1, ["Fluß"])]),
    ("strassenbahn", [("de", 2, ["Straßenbahn", "Strassenbahn"])]), ("übermut", [("de", 2, ["ÜBERMUT"])]),
    # After emoji.
    ("cake", [("en", 5, ["cake"])]), ("december", [("en", 5, ["December"])]),
    # Chinese, Japanese, Korean: in the order of the query.
    ("北京", [("escapes", 3, ["北京"]), ("zh", 1, ["北京"]), ("zh", 2, ["北京", "北京"]), ("zh", 3, ["北京"])]),
    ("京北", [("zh", 2, ["京北"])]), ("北京大学", [("zh", 1, ["北京大学"])]), ("鸭烤", []),
    ("北京 大学", [("zh", 1, ["北京", "大学"]), ("zh", 2, ["大学", "北京", "北京"])]),
    ("北京 -大学", [("escapes", 3, ["北京"]), ("zh", 3, ["北京"])]),
    ("烤鸭 or 手机", [("zh", 1, ["烤鸭"]), ("zh", 3, ["手机"])]),
    ("二〇二六", [("zh", 3, ["二〇二六"])]), ("iphone手机", [("zh", 3, ["iPhone", "手机"])]),
    ("\U00020bb7野家", [("zh", 4, ["\U00020bb7野家"])]),
    ("東京タワー", [("ja", 1, ["東京タワー"])]), ("ラーメン", [("ja", 1, ["ラーメン"])]), ("好き", [("ja", 1, ["好き"])]),
    ("ｶﾅ", [("ja", 2, ["ｶﾅ"])]), ("人々", [("ja", 2, ["人々"])]), ("アイ・オー", [("ja", 3, ["アイ", "オー"])]),
    ("서울", [("ko", 1, ["서울"]), ("ko", 2, ["서울"])]), ("기차표", [("ko", 1, ["기차표"])]), ("서울 예매", [("ko", 1, ["서울", "예매"])]),
    # Escapes.
    ("café", [("escapes", 1, ["café"])]), ("nul", [("escapes", 1, ["nul"])]), ("pair", [("escapes", 1, ["pair"])]),
    ("low", [("escapes", 1, ["low"])]), ("u0041", [("escapes", 1, ["u0041"])]), ("apple", [("escapes", 1, ["Apple"])]),
    ("end", [("escapes", 2, ["end"])]), ("control", [("escapes", 2, ["control"])]), ("after", [("escapes", 2, ["After"])]),
    ("fter", []), ("quoted", [("escapes", 3, ["quoted"])]),
    # Text parts.
    ("part", [("parts", 1, ["part", "part"])]), ("second", [("parts", 1, ["second"])]), ("\"part second\"", [("parts", 1, ["part", "second", "part"])]),
    ("output", [("parts", 2, ["output"])]), ("plain", [("parts", 2, ["plain"])]), ("hidden", []), ("object", []),
    # Words that no message has.
    ("zebra", []), ("12", []),
]
# No word to look for.
NO_WORD = ["-cat", "\U0001f600", "''", "!!! ...", "-\"running cats\"", "cat or -dogs", "\"\"", "&", " "]
