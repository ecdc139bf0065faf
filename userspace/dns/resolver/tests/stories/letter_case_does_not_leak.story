title: The mixed letter case of our questions stays between us and the servers
why: draft-vixie-dnsext-dns0x20 mixes the case of a question; names in answers that are compressed against it would carry it to clients and caches.

world usual
zone one.test signed
  www CNAME web.two.test.
  web A 203.0.113.2
zone two.test
  web A 203.0.113.2
  mail MX 10 web
server ns.one.test 10.0.1.1 serves one.test
server ns.two.test 10.0.1.2 serves two.test

---
ask www.one.test A
expect NOERROR insecure
expect small letters
ask one.test NS
expect small letters
ask mail.two.test MX
expect small letters
ask none.one.test A
expect small letters
