#!/usr/bin/env bash
# Makes certificates with openssl, in FOLDER: a root `ca`, and by it `server` (localhost and 127.0.0.1), `other` (another
# name), `expired` and `client`; each as NAME.pem and NAME.key.
#
#   certificates.sh FOLDER
source "$(dirname "$0")/../../../tests/support/lib.sh"
need openssl
mkdir -p "$1"
cd "$1"
new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null ||
  openssl ecparam -genkey -name prime256v1 -noout -out "$1.key"; }
sign() { # sign NAME EXTENSIONS DAYS: by the root
  openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -set_serial $RANDOM -days "$3" -out "$1.pem" \
    -extfile <(printf 'basicConstraints=CA:FALSE\n%s\n' "$2") 2>/dev/null
}
new_key ca
openssl req -x509 -key ca.key -subj '/CN=tests' -days 30 -addext basicConstraints=critical,CA:TRUE -out ca.pem
for name in server other expired client; do new_key "$name"; done
sign server 'subjectAltName=DNS:localhost,IP:127.0.0.1' 30
sign other 'subjectAltName=DNS:other.example' 30
sign client 'extendedKeyUsage=clientAuth' 30
# Older openssl takes no negative days: this one was good for a day in 2001.
openssl req -new -key expired.key -subj /CN=expired -out expired.csr
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\npolicy=p\ndefault_md=sha256\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n' >ca.cnf
: >index
echo 01 >serial
openssl ca -batch -notext -config ca.cnf -extensions e -in expired.csr -cert ca.pem -keyfile ca.key \
  -startdate 20010101000000Z -enddate 20010102000000Z -out expired.pem 2>/dev/null
