import { Component, type ReactNode } from 'react';
import { Button } from './button';
import { Note } from './states';

/** A fault of this page's own code. The rest of the page stays. */
export class Boundary extends Component<{ readonly children: ReactNode }, { readonly error: Error | null }> {
  override state: { readonly error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <Note
        tone="bad"
        title="This part of the page failed"
        actions={
          <>
            <Button onClick={() => this.setState({ error: null })}>Try again</Button>
            <Button look="quiet" onClick={() => location.reload()}>
              Reload the page
            </Button>
          </>
        }
      >
        <p>That is a fault of the page, not of your agents. Its words: {error.message}</p>
      </Note>
    );
  }
}
