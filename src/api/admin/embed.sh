#!/bin/sh
# SPDX-License-Identifier: MIT
# embed.sh OPENAPI.json PAGE.html STATUS.html: prints the C file with the bytes that docs.c serves,
# their entity tags, and for each page the policy that allows its one script and one style by their hash.
set -eu
openapi=$1 page=$2 status=$3

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
hash() # TAG FILE
{
    grep -qx "<$1>" "$2" && grep -qx "</$1>" "$2" ||
        { echo "embed.sh: $2 has no <$1> in lines of its own" >&2; exit 1; }
    { echo; sed -n "/^<$1>\$/,/^<\/$1>\$/p" "$2" | sed '1d;$d'; } | sha256sum | cut -c 1-64 |
        tr a-f A-F | basenc --base16 -d | base64 -w 0
}

page() # NAME FILE
{
    local script style
    bytes "$1" <"$2"
    text "$1_tag" "$(tag <"$2")"
    script=$(hash script "$2")
    style=$(hash style "$2")
    text "$1_policy" "default-src 'none'; connect-src 'self'; img-src data:; script-src 'sha256-$script'; \
style-src 'sha256-$style'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

echo '/* Made by src/api/admin/embed.sh. Not to be edited. */'
echo '#include <stddef.h>'
json | bytes docs_openapi
text docs_openapi_tag "$(json | tag)"
page docs_page "$page"
page docs_status "$status"
