title: A reverse name of 34 labels
why: RFC 9156 section 2.3: minimisation in a few large steps, or each PTR record costs thirty questions.

zone . signed
zone arpa signed
zone ip6.arpa signed
zone a.0.a.2.ip6.arpa signed
zone 0.0.0.0.a.0.a.2.ip6.arpa signed
  1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR www.example.test.
server a.root 10.0.0.1 serves .
server ns.arpa 10.0.0.3 serves arpa, ip6.arpa
server ns.arpa-registry 10.0.0.4 serves a.0.a.2.ip6.arpa
server ns.isp 10.0.1.1 serves 0.0.0.0.a.0.a.2.ip6.arpa

---
ask 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.0.a.2.ip6.arpa PTR
expect NOERROR secure
expect at most 40 queries
ask 2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.0.a.2.ip6.arpa PTR
expect NXDOMAIN secure
expect at most 12 queries
