#!/bin/sh
# SPDX-License-Identifier: MIT
# embed.sh OPENAPI.json PAGE.html: prints the C file with the bytes that docs.c serves, their entity
# tags, and the policy that allows the page's one script and one style by their hash.
set -eu
openapi=$1 page=$2

bytes() # NAME, from standard input
{
    printf 'extern const char %s[];\nextern const size_t %s_n;\nconst char %s[] = {\n' "$1" "$1" "$1"
    od -An -v -to1 | awk '{ for (i = 1; i <= NF; i++) printf "\047\\%s\047,", $i; print "" }'
    printf '};\nconst size_t %s_n = sizeof(%s);\n' "$1" "$1"
}

text() # NAME TEXT
{
    printf 'extern const char %s[];\nconst char %s[] = "%s";\n' "$1" "$1" "$2"
}

# A string of JSON holds no line break: what surrounds one is there for people.
json()
{
    sed 's/^ *//' "$openapi" | tr -d '\n'
}

tag()
{
    sha256sum | cut -c 1-16
}

# What stands between <TAG> at the end of a line and </TAG> at the start of one, hashed as the browser
# does it (CSP level 3, section 6.7.2.3).
hash()
{
    grep -qx "<$1>" "$page" && grep -qx "</$1>" "$page" ||
        { echo "embed.sh: $page has no <$1> in lines of its own" >&2; exit 1; }
    { echo; sed -n "/^<$1>\$/,/^<\/$1>\$/p" "$page" | sed '1d;$d'; } | sha256sum | cut -c 1-64 |
        tr a-f A-F | basenc --base16 -d | base64 -w 0
}

echo '/* Made by src/api/admin/embed.sh. Not to be edited. */'
echo '#include <stddef.h>'
json | bytes docs_openapi
text docs_openapi_tag "$(json | tag)"
bytes docs_page <"$page"
text docs_page_tag "$(tag <"$page")"
script=$(hash script)
style=$(hash style)
text docs_page_policy "default-src 'none'; connect-src 'self'; img-src data:; script-src 'sha256-$script'; \
style-src 'sha256-$style'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
