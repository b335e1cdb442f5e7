-- An address is suppressed for one organization. Owners enter a billing address that nobody verifies, so a complaint about
-- one organization's mails must not keep another organization's warnings from its own owner.
SET LOCAL lock_timeout = '1s';

-- Addresses that took no mail of the organization, or whose owners called one of them spam. In lower case. Every mail belongs
-- to an organization. No foreign key: see 20261127001000. The mail sweep deletes the rows of organizations that are gone.
CREATE TABLE cloud.suppressed_addresses (
    organization_id uuid NOT NULL,
    address text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, address)
);

-- Only for organizations whose own mails were reported: others that wrote to the address may write there again. Deliveries
-- are kept for 90 days, so an older suppression ends. The next mail to such an address is reported again.
INSERT INTO cloud.suppressed_addresses (organization_id, address, reason, created_at)
SELECT DISTINCT d.organization_id, s.address, s.reason, s.created_at
FROM cloud.mail_suppressions s JOIN cloud.mail_deliveries d ON lower(d.recipient) = s.address
WHERE d.state = 'complained' OR d.state = 'bounced' AND d.reason = 'bounced for good';

-- Only the release before this one reads and writes cloud.mail_suppressions. A later release drops it.
