import { client } from '../data/client';
import { sessionStore, signOut } from '../data/session';
import { Button } from '../ui/button';
import { Dialog } from '../ui/dialog';
import { KeyForm } from './key-form';

/** Above the page, which stays as it is: what was typed there is still there afterwards. */
export default function SessionOver() {
  const leave = () => {
    void signOut(client).catch(() => sessionStore.set(() => ({ state: 'out' })));
  };
  return (
    <Dialog
      open
      urgent
      onClose={() => {}}
      title="Your session is over"
      footer={<Button onClick={leave}>Leave this page</Button>}
    >
      <p>Sign in again to go on where you are. Nothing on this page is lost.</p>
      <KeyForm action="Go on" />
    </Dialog>
  );
}
