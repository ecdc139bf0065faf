title: Without a signed root and without anchors everything is insecure and works
why: A private root without DNSSEC is what laboratories and closed networks have.

zone .
zone test
zone example.test
  www A 203.0.113.1
server a.root 10.0.0.1 serves .
server ns.test 10.0.0.2 serves test
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
expect at most 6 queries
