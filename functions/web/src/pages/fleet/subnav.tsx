import { Subnav } from '../../ui/subnav';

/** The pages of the fleet. */
export const FleetNav = () => (
  <Subnav
    label="Fleet"
    pages={[
      { to: '/fleet', label: 'Hosts' },
      { to: '/containers', label: 'Containers' },
      { to: '/fleet/network', label: 'Network' },
      { to: '/fleet/audit', label: 'Compare with hosts' },
    ]}
  />
);
