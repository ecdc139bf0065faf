title: A proof is missing, and all else shows that there is no zone below
why: RFC 4035 section 5.4: a signed SOA record, or a signed wildcard, says whose the answer is; asking for DS records of every such name would be a gift to whoever sends made-up names.

world usual
zone example.test signed
  www A 203.0.113.1
  *.wild A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  stripped_denial

---
ask none.example.test A
expect SERVFAIL bogus
expect ede 12
expect server ns1.example.test never sees none.example.test DS
ask x.wild.example.test A
expect SERVFAIL bogus
expect ede 12
expect server ns1.example.test never sees x.wild.example.test DS
