title: Strict minimisation believes NXDOMAIN for a part
why: RFC 8020: nothing exists below a name that does not.

resolver minimisation strict

world usual
zone example.test
  www.deep.ent A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  nodata_for_ent

---
ask www.deep.ent.example.test A
expect NXDOMAIN insecure
